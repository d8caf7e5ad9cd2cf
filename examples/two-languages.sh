#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# two-languages.sh FILM OUTPUT.mkv [LANGUAGE LANGUAGE [URL]]
#
# A copy of a film that has two sound tracks in Matroska, with subtitles of each.
set -eu
input=${1:?a film with two sound tracks} output=${2:?where the copy goes}
first=${3:-en} second=${4:-de}
url=${5:-ws://localhost:8000/v1/realtime}
queue='queue max-size-time=0 max-size-bytes=0 max-size-buffers=0'

# words TRACK LANGUAGE: from a copy of a sound track to the muxer.
words() {
  echo "t$1. ! $queue ! decodebin ! audioconvert ! audioresample !
    vllmrealtimeasr url=$url language-code=$2 ! textrollup mode=pop-on columns=42 ! queue !
    m.subtitle_$1"
}

# shellcheck disable=SC2046,SC2086 # pipelines in words
exec gst-launch-1.0 filesrc location="$input" ! matroskademux name=d \
  d.video_0 ! $queue ! m.video_0 \
  d.audio_0 ! tee name=t0 ! $queue ! m.audio_0 \
  d.audio_1 ! tee name=t1 ! $queue ! m.audio_1 \
  $(words 0 "$first") \
  $(words 1 "$second") \
  matroskamux name=m ! filesink location="$output"
