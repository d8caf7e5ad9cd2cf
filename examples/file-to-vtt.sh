#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# file-to-vtt.sh INPUT OUTPUT.vtt [URL]
#
# WebVTT subtitles of any media file. In WebVTT & and < are escaped, as in markup.
set -eu
input=${1:?a media file} output=${2:?where the subtitles go}
url=${3:-ws://localhost:8000/v1/realtime}

exec gst-launch-1.0 filesrc location="$input" ! decodebin ! audioconvert ! audioresample ! \
  vllmrealtimeasr url="$url" ! textrollup mode=pop-on columns=42 format=pango-markup ! webvttenc ! \
  filesink location="$output"
