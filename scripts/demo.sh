#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# demo.sh [--url URL] [--model NAME] [--input FILE | --mic]
#
# Installs what is missing, builds, and captions real speech at live pace: five readings of
# LibriVox, recognised on this machine's CPU by a small recogniser behind a stand-in for vLLM.
# Leaves captions.srt, captions.webm, frame.png (a frame of it) and words.json in target/demo/.
#
#   --url URL      a real server instead, as ws://localhost:8000/v1/realtime
#   --model NAME   the model to ask it for; by default the one that it serves
#   --input FILE   any media file instead of the readings
#   --mic          the microphone; Enter ends it
#
# The environment variable VLLM_API_KEY holds the server's key, if it wants one.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

url=
args=()
while [ $# -gt 0 ]; do
  case $1 in
  --url | --model | --input) [ $# -ge 2 ] || die "demo.sh: $1 needs a value" ;;&
  --url) url=$2 && shift 2 ;;
  --model) args+=(--model "$2") && shift 2 ;;
  --input) args+=(--input "$(cd "$here" && realpath -e -- "$2")") && shift 2 ;;
  --mic) args+=(--mic) && shift ;;
  *)
    sed -n '3,/^set/s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] && exit 0
    die "demo.sh: no option '$1'"
    ;;
  esac
done

scripts/setup.sh build demo
say "Building"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --locked --release --workspace --lib --bins --example demo
built=$CARGO_TARGET_DIR/release
out=$CARGO_TARGET_DIR/demo
rm -rf "$out"
mkdir -p "$out"
export GST_PLUGIN_PATH=$built${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}

if [ -z "$url" ]; then
  say "Starting the stand-in server"
  # It takes a free port, and its first line tells which.
  coproc standin { exec "$built/vllm-standin" --voice pocketsphinx --port 0 2>"$out/standin.log"; }
  # shellcheck disable=SC2064 # the id of this very child
  trap "kill $standin_PID 2>/dev/null || true" EXIT
  read -r -t 60 line <&"${standin[0]}" || die "The stand-in does not start:" "$(cat "$out/standin.log")"
  url=$(grep -o 'ws://[^ ]*' <<<"$line")
fi
say "Captions from $url"
"$built/examples/demo" --url "$url" --out "$out" "${args[@]}"
