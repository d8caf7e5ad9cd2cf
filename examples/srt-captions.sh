#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# srt-captions.sh [INPUT [OUTPUT [URL]]]
#
# A stream that comes in (SRT by default: srt://:7001?mode=listener; an rtmp:// or rtsp:// address is
# taken as well) goes out as MPEG-TS by SRT (srt://:7002?mode=listener) with captions burnt in. ENCODER:
# another one for the picture.
set -eu
input=${1:-srt://:7001?mode=listener} output=${2:-srt://:7002?mode=listener}
url=${3:-ws://localhost:8000/v1/realtime}

# shellcheck disable=SC2086 # an encoder and its properties
exec gst-launch-1.0 vllmcaptionoverlay name=c url="$url" \
  uridecodebin uri="$input" name=d \
  d. ! queue ! videoconvert ! c.video_sink \
  d. ! queue ! audioconvert ! c.audio_sink \
  c.video_src ! videoconvert ! ${ENCODER:-openh264enc bitrate=2000000} ! h264parse config-interval=1 ! queue ! m. \
  c.audio_src ! audioconvert ! audioresample ! avenc_aac ! aacparse ! queue ! m. \
  mpegtsmux name=m alignment=7 ! srtsink uri="$output" wait-for-connection=false async=false
