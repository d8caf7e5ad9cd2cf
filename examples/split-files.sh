#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# split-files.sh FOLDER [SECONDS [URL]]
#
# The camera with its captions as subtitles, in Matroska files of so many seconds (600). VIDEO, AUDIO:
# other elements than the camera and the microphone.
set -eu
folder=${1:?where the files go} seconds=${2:-600}
url=${3:-ws://localhost:8000/v1/realtime}
queue='queue max-size-time=0 max-size-bytes=0 max-size-buffers=0'

# gaps=false: splitmuxsink of GStreamer 1.22 stops at any GAP event of its subtitles.
# shellcheck disable=SC2086 # each may be several elements
exec gst-launch-1.0 -e \
  splitmuxsink name=m muxer-factory=matroskamux location="$folder/%05d.mkv" \
  max-size-time=$((seconds * 1000000000)) send-keyframe-requests=true \
  ${VIDEO:-autovideosrc} ! videoconvert ! vp8enc deadline=1 cpu-used=8 ! $queue ! m.video \
  ${AUDIO:-autoaudiosrc} ! audioconvert ! audioresample ! tee name=t \
  t. ! vorbisenc ! $queue ! m.audio_0 \
  t. ! $queue ! audioconvert ! audioresample ! vllmrealtimeasr url="$url" ! \
  textrollup mode=pop-on columns=42 gaps=false ! $queue ! m.subtitle_0
