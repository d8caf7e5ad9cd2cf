#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# film-cea608.sh FILM OUTPUT.mov [URL]
#
# A copy of a film in QuickTime with closed captions (CEA-608). Needs the plugin closedcaption of
# gst-plugins-rs; for a live picture it has transcriberbin.
set -eu
input=${1:?a film} output=${2:?where the copy goes}
url=${3:-ws://localhost:8000/v1/realtime}
queue='queue max-size-time=0 max-size-bytes=0 max-size-buffers=0'

# shellcheck disable=SC2086 # a queue and its properties
exec gst-launch-1.0 filesrc location="$input" ! decodebin name=d \
  d. ! videoconvert ! jpegenc ! $queue ! m.video_0 \
  d. ! audioconvert ! audioresample ! tee name=t \
  t. ! $queue ! m.audio_0 \
  t. ! queue ! audioconvert ! audioresample ! vllmrealtimeasr url="$url" ! \
  tttocea608 mode=roll-up2 ! closedcaption/x-cea-608,framerate=30000/1001 ! ccconverter ! \
  closedcaption/x-cea-608,format=s334-1a ! queue ! m.caption_0 \
  qtmux name=m ! filesink location="$output"
