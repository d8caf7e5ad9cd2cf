#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# camera-captions.sh [URL]
#
# The camera in a window, with captions. VIDEO, AUDIO and SINK: other elements than the camera, the
# microphone and a window.
set -eu
url=${1:-ws://localhost:8000/v1/realtime}

# shellcheck disable=SC2086 # each may be several elements
exec gst-launch-1.0 -e \
  vllmcaptionoverlay name=c url="$url" ! ${SINK:-videoconvert ! autovideosink} \
  ${VIDEO:-autovideosrc} ! videoconvert ! c.video_sink \
  ${AUDIO:-autoaudiosrc} ! c.audio_sink
