#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# demo.sh [--text] [--url URL] [--model NAME] [FILE | --mic]
#
# Installs what is missing, builds, and captions real speech at live pace, each word printed as soon as
# it is known: five readings of LibriVox, recognised on this machine's CPU by a small recogniser behind
# a stand-in for vLLM. Leaves in target/demo/ a page to open in a browser, index.html, with film.webm;
# captions.srt, captions.vtt, captions.webm (burnt in), frame.png (a frame of that), words.json.
#
#   --text         neither films nor a page: in half the time
#   --url URL      a real server instead, as ws://localhost:8000/v1/realtime
#   --model NAME   the model to ask it for; by default the one that it serves
#   FILE           any film or recording instead of the readings
#   --mic          the microphone; Enter ends it
#
# The recogniser is Moonshine tiny.en (English), a wheel of PyPI of 85 MB; where it cannot be had, or on
# another processor, it is pocketsphinx from Debian, which hears far less. The environment variable
# VLLM_API_KEY holds the server's key, if it wants one.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

url=
args=()
while [ $# -gt 0 ]; do
  case $1 in
  --url | --model) [ $# -ge 2 ] || die "demo.sh: $1 needs a value" ;;&
  --url) url=$2 && shift 2 ;;
  --model) args+=(--model "$2") && shift 2 ;;
  --text | --mic) args+=("$1") && shift ;;
  --help | -*)
    sed -n '3,/^set/s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] && exit 0
    die "demo.sh: no option '$1'"
    ;;
  *) args+=(--input "$(cd "$here" && realpath -e -- "$1")") && shift ;;
  esac
done

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
SECONDS=0
scripts/setup.sh build demo
voice=pocketsphinx
if [ -z "$url" ]; then
  scripts/setup.sh voice
  if [ -d "$CARGO_TARGET_DIR/moonshine" ]; then
    voice=moonshine
    args+=(--timing arrival)
  else
    echo "Without it the demo takes pocketsphinx, which hears far less."
  fi
fi
downloaded=$SECONDS
say "Building"
cargo build --locked --release --workspace --lib --bins --example demo
built=$CARGO_TARGET_DIR/release
took=$((SECONDS - downloaded))
out=$CARGO_TARGET_DIR/demo
case ${args[*]} in
*"--input $out/"*) die "demo.sh: what is in $out is made anew: take the file elsewhere first" ;;
esac
rm -rf "$out"
mkdir -p "$out"
export GST_PLUGIN_PATH=$built${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}

real=$url
if [ -z "$url" ]; then
  say "Starting the stand-in server"
  # It takes a free port, and its first line tells which.
  coproc standin { exec "$built/vllm-standin" --voice "$voice" --port 0 2>"$out/standin.log"; }
  # shellcheck disable=SC2064 # the id of this very child
  trap "kill $standin_PID 2>/dev/null || true" EXIT
  read -r -t 60 line <&"${standin[0]}" || die "The stand-in does not start:" "$(cat "$out/standin.log")"
  url=$(grep -o 'ws://[^ ]*' <<<"$line")
fi
say "Captions from $url"
echo "$downloaded s to install what was missing, $took s to build; the first word comes $SECONDS s after the start"
"$built/examples/demo" --url "$url" --out "$out" "${args[@]}"
if [ -z "$real" ]; then
  cat <<'END'

With a vLLM server, which hears better and more languages than English:
    vllm serve mistralai/Voxtral-Mini-4B-Realtime-2602      # on the machine with the GPU
    ./scripts/demo.sh --url ws://THAT-MACHINE:8000/v1/realtime
Your own film, recording or voice:
    ./scripts/demo.sh FILE
    ./scripts/demo.sh --mic
END
fi
