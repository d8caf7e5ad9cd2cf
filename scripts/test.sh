#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# test.sh [--vllm]
#
# What everybody runs before a change goes in: installs what is missing, then format, lints,
# documentation, the tests, the Meson build, the README's tables; at most 15 minutes on two cores.
# What takes longer is in long.sh. Every step runs, whatever became of those before it; the end tells
# what took longest and which failed. The last line is the test runner's own.
#
#   --vllm   also the conformance tests against a real vLLM on the CPU, with a tiny Voxtral and a
#            tiny Qwen3-ASR (../shared/vllm, or the folder in VLLM_CPU; installed when it is not).
#            VLLM_REALTIME_URL names a server that is up already instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
. scripts/steps.sh

vllm=
for arg; do
  case $arg in
  --vllm) vllm=yes ;;
  *) die "test.sh: no option '$arg': --vllm" ;;
  esac
done

scripts/setup.sh build demo voice test
begin test

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace; }

# In a folder of its own: installed below DESTDIR, found by GStreamer and by pkg-config there.
meson_build() {
  local build=$out/meson dest=$out/dest plugins libdir
  plugins=$(pkg-config --variable=pluginsdir gstreamer-1.0) || return
  meson setup "$build" . --prefix=/usr --buildtype=debug \
    -Dcargo-target-dir="$CARGO_TARGET_DIR" || return
  meson compile -C "$build" || return
  meson test -C "$build" --suite plugin --print-errorlogs || return
  DESTDIR=$dest meson install -C "$build" --no-rebuild || return
  GST_PLUGIN_PATH=$dest$plugins GST_REGISTRY=$out/registry.bin \
    gst-inspect-1.0 vllmrealtimeasr >"$out/inspect.txt" || return
  # That copy, and no other that may be on this machine.
  grep -F "$dest$plugins/libgstvllmrealtime.so" "$out/inspect.txt" || return
  # With another prefix it goes below that.
  meson setup "$build-prefix" . --prefix="$out/prefix" -Dcargo-target-dir="$CARGO_TARGET_DIR" \
    >"$out/prefix.txt" && meson introspect --installed "$build-prefix" |
    grep -qE "\"$out/prefix/lib[^\"]*/gstreamer-1.0/libgstvllmrealtime.so\"" || return
  libdir=$(dirname "$(find "$dest" -name gstvllmrealtime.pc)") || return
  [ "$(PKG_CONFIG_PATH=$libdir pkg-config --variable=pluginsdir gstvllmrealtime)" = "$plugins" ] &&
    [ "$(PKG_CONFIG_PATH=$libdir pkg-config --modversion gstvllmrealtime)" = \
      "$(scripts/meson-cargo.py version)" ] || {
    echo "gstvllmrealtime.pc is wrong:"
    cat "$libdir/gstvllmrealtime.pc"
    return 1
  }
}

# properties ELEMENT FILE HEADING: the table below a heading against what the element has.
properties() {
  local has tells
  has=$(GST_PLUGIN_PATH=$(dirname "$(find "$out/dest" -name libgstvllmrealtime.so)") \
    GST_REGISTRY=$out/registry.bin gst-inspect-1.0 "$1" |
    sed -nE '/^Element Properties/,/^(Element (Signals|Actions)|Children)/s/^  ([a-z][a-z-]*) +: .*/\1/p' |
    grep -vxE 'name|parent|async-handling|message-forward' | sort)
  tells=$(sed -nE "/^## $3\$/,/^## /s/^\| \`([a-z-]+)\` .*/\1/p" "$2" | sort)
  [ -n "$has" ] && diff <(echo "$has") <(echo "$tells") || {
    echo "$1: < the element has it, > $2 has it"
    return 1
  }
}

# The documents' tables of properties.
readme() {
  properties vllmrealtimeasr README.md Properties &&
    properties textrollup docs/captions.md "Properties of textrollup" &&
    properties vllmcaptionoverlay docs/captions.md "Properties of vllmcaptionoverlay"
}

# Process group of the vLLM that runs, if any.
server=
stop_server() {
  [ -n "$server" ] || return 0
  kill -TERM -- "-$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}
trap stop_server EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# conformance LOG [FILTER]: every test that takes a server, which VLLM_REALTIME_URL names; and others.
conformance() {
  nextest "$1" --run-ignored all --ignore-default-filter --no-tests=fail \
    -E "binary(vllm) + binary(vllm_element) + binary(conformance) ${2:+ + $2}"
}

# vllm_model MODEL: the same, against a real vLLM of our own, and the tests that start one themselves.
vllm_model() {
  local model=$1 port log=$out/server-$1.log status=0
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  # The engine in a process of its own: a test stops the other one.
  VLLM_ENABLE_V1_MULTIPROCESSING=1 setsid "$shared/serve.sh" "$model" "$port" >"$log" 2>&1 &
  server=$!
  local deadline=$((SECONDS + 180))
  until python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/health', timeout=2)" 2>/dev/null; do
    if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
      echo "vLLM does not come up:"
      tail -n 20 "$log"
      stop_server
      return 1
    fi
    sleep 0.5
  done
  VLLM_REALTIME_URL=ws://127.0.0.1:$port/v1/realtime VLLM_MODEL=$model \
    VLLM_API_PID=$server VLLM_CPU=$shared conformance "vllm-$model" "test(/^vllm::.*_$model\$/)" || status=$?
  stop_server
  return "$status"
}

step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
step "documentation" docs
step "tests" nextest tests
step "documentation tests" cargo test --locked --workspace --doc
step "Meson" meson_build
step "README" readme

if [ -n "$vllm" ] && [ -n "${VLLM_REALTIME_URL:-}" ]; then
  step "conformance, $VLLM_REALTIME_URL" conformance vllm
elif [ -n "$vllm" ]; then
  shared=$(cd "${VLLM_CPU:-../shared/vllm}" && pwd) ||
    die "No ${VLLM_CPU:-../shared/vllm} here: VLLM_CPU names its folder, VLLM_REALTIME_URL a server"
  if [ ! -x "${XDG_CACHE_HOME:-$HOME/.cache}/vllm-cpu/venv/bin/python" ] ||
    [ ! -d "${XDG_CACHE_HOME:-$HOME/.cache}/vllm-cpu/models/qwen3asr" ]; then
    need_packages python3-venv
    step "vLLM" "$shared/install.sh"
  fi
  for model in voxtral qwen3asr; do
    step "conformance, vLLM with $model" vllm_model "$model"
  done
fi

finish
