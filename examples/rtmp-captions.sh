#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# rtmp-captions.sh [INPUT [OUTPUT [URL]]]
#
# A stream that a streamer's program sends to an RTMP server (rtmp://localhost/live/in by default) goes
# out again to such a server (rtmp://localhost/live/out) with captions burnt in. ENCODER: another one for
# the picture.
set -eu
input=${1:-rtmp://localhost/live/in} output=${2:-rtmp://localhost/live/out}
url=${3:-ws://localhost:8000/v1/realtime}

# shellcheck disable=SC2086 # an encoder and its properties
exec gst-launch-1.0 vllmcaptionoverlay name=c url="$url" \
  rtmp2src location="$input" ! flvdemux name=d \
  d.video ! queue ! h264parse ! avdec_h264 ! videoconvert ! c.video_sink \
  d.audio ! queue ! aacparse ! avdec_aac ! audioconvert ! c.audio_sink \
  c.video_src ! videoconvert ! ${ENCODER:-openh264enc bitrate=2000000} ! h264parse ! queue ! m. \
  c.audio_src ! audioconvert ! audioresample ! avenc_aac ! aacparse ! queue ! m. \
  flvmux name=m streamable=true ! rtmp2sink location="$output" async=false
