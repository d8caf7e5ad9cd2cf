#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# camera-captions.sh [URL]
#
# The camera in a window, each word on it while it is spoken. The picture is held back by the
# element's latency, so that a word is there when its time comes; the queue holds what waits.
set -eu
url=${1:-ws://localhost:8000/v1/realtime}
latency=${LATENCY:-3000}

exec gst-launch-1.0 -e \
  autovideosrc ! videoconvert ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! \
  textoverlay name=captions wait-text=false shaded-background=true ! videoconvert ! \
  autovideosink \
  autoaudiosrc ! audioconvert ! audioresample ! queue ! \
  vllmrealtimeasr url="$url" latency="$latency" ! captions.text_sink
