#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# web-page.sh FILM FOLDER [URL]
#
# A page that plays a film with its captions in any browser: FOLDER/index.html, with the film as WebM
# and the captions as WebVTT, which the viewer turns on and off.
set -eu
input=${1:?a film} folder=${2:?where the page goes}
url=${3:-ws://localhost:8000/v1/realtime}
queue='queue max-size-time=0 max-size-bytes=0 max-size-buffers=0'
mkdir -p "$folder"

# shellcheck disable=SC2086 # a queue and its properties
gst-launch-1.0 -q filesrc location="$input" ! decodebin name=d \
  d. ! $queue ! videoconvert ! vp8enc deadline=1 cpu-used=8 ! $queue ! m. \
  d. ! $queue ! audioconvert ! audioresample ! tee name=t \
  t. ! $queue ! vorbisenc ! $queue ! m. \
  t. ! $queue ! audioconvert ! audioresample ! vllmrealtimeasr url="$url" ! \
  textrollup mode=pop-on columns=42 format=pango-markup ! webvttenc ! \
  filesink location="$folder/captions.vtt" \
  webmmux name=m ! filesink location="$folder/film.webm"

# The captions go into the page: a browser takes no track from a file:// address.
cat >"$folder/index.html" <<PAGE
<!DOCTYPE html>
<meta charset="utf-8">
<title>$(basename "$input" | sed 's/&/\&amp;/g; s/</\&lt;/g')</title>
<style>body { margin: 0; background: #111 } video { display: block; width: 100%; max-height: 100vh }</style>
<video controls src="film.webm">
  <track default kind="captions" label="Captions"
    src="data:text/vtt;base64,$(base64 -w 0 "$folder/captions.vtt")">
</video>
PAGE
