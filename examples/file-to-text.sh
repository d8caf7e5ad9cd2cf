#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# file-to-text.sh INPUT OUTPUT.txt [URL]
#
# The text of any media file, a line for each sentence.
set -eu
input=${1:?a media file} output=${2:?where the text goes}
url=${3:-ws://localhost:8000/v1/realtime}

exec gst-launch-1.0 filesrc location="$input" ! decodebin ! audioconvert ! audioresample ! \
  vllmrealtimeasr url="$url" ! textrollup mode=sentence newline=true ! filesink location="$output"
