#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# film-captions.sh FILM OUTPUT.webm [URL]
#
# A copy of a film with captions burnt in, as fast as the server takes the sound.
set -eu
input=${1:?a film} output=${2:?where the copy goes}
url=${3:-ws://localhost:8000/v1/realtime}
queue='queue max-size-time=0 max-size-bytes=0 max-size-buffers=0'

# shellcheck disable=SC2086 # a queue and its properties
exec gst-launch-1.0 filesrc location="$input" ! decodebin name=d \
  vllmcaptionoverlay name=c url="$url" \
  d. ! videoconvert ! c.video_sink \
  d. ! audioconvert ! c.audio_sink \
  c.video_src ! videoconvert ! vp8enc deadline=1 cpu-used=8 ! $queue ! m. \
  c.audio_src ! audioconvert ! audioresample ! vorbisenc ! $queue ! m. \
  webmmux name=m ! filesink location="$output"
