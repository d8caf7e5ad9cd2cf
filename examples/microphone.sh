#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# microphone.sh [URL]
#
# The microphone's words on the terminal, as messages on the bus. Nothing is linked behind the
# element: it serves as the sink. Ctrl-C ends it (-e: when the last words are out). AUDIO: another
# element than the microphone.
set -eu
url=${1:-ws://localhost:8000/v1/realtime}

# shellcheck disable=SC2086 # may be several elements
gst-launch-1.0 -e -m ${AUDIO:-autoaudiosrc} ! audioconvert ! audioresample ! \
  vllmrealtimeasr url="$url" | grep --line-buffered 'vllmrealtimeasr/word'
