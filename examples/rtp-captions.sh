#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# rtp-captions.sh [URL]
#
# A picture (VP8, port 5004) and its sound (Opus, port 5006) by RTP; the same with captions burnt in
# goes on to HOST, ports 6004 and 6006. What a lossy network lost of the sound is concealed (plc), so
# that the times of words stay right. PORTS, HOST, OUT_PORTS: others.
set -eu
url=${1:-ws://localhost:8000/v1/realtime}
host=${HOST:-127.0.0.1}
ports=${PORTS:-5004 5006} out=${OUT_PORTS:-6004 6006}
video='application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8'
audio='application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS'

exec gst-launch-1.0 vllmcaptionoverlay name=c url="$url" \
  udpsrc port="${ports% *}" caps="$video" ! rtpjitterbuffer ! rtpvp8depay ! vp8dec ! \
  videoconvert ! c.video_sink \
  udpsrc port="${ports#* }" caps="$audio" ! rtpjitterbuffer do-lost=true ! rtpopusdepay ! \
  opusdec plc=true ! audioconvert ! c.audio_sink \
  c.video_src ! videoconvert ! vp8enc deadline=1 cpu-used=8 ! rtpvp8pay pt=96 ! queue ! \
  udpsink host="$host" port="${out% *}" async=false \
  c.audio_src ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97 ! queue ! \
  udpsink host="$host" port="${out#* }" async=false
