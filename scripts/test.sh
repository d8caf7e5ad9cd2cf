#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# test.sh [--vllm]
#
# Installs what is missing and runs everything: format, lints, documentation, the Meson build, the
# tests. Every step runs, whatever became of those before it; the end tells which failed. The last
# line is the test runner's own.
#
#   --vllm   also the conformance tests against a real vLLM on the CPU, with a tiny Voxtral and a
#            tiny Qwen3-ASR (../shared/vllm, or the folder in VLLM_CPU; installed when it is not).
#            VLLM_REALTIME_URL names a server that is up already instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

vllm=
for arg; do
  case $arg in
  --vllm) vllm=yes ;;
  *) die "test.sh: no option '$arg': --vllm" ;;
  esac
done

scripts/setup.sh build demo test
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
# Incremental builds cost time and disk where the build is thrown away.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
out=$CARGO_TARGET_DIR/test
rm -rf "$out"
mkdir -p "$out"
failed=()
closing=()

# step NAME COMMAND...
step() {
  local name=$1 started=$SECONDS
  shift
  say "$name"
  if "$@"; then
    printf -- '-- %s: %s s\n' "$name" $((SECONDS - started))
  else
    failed+=("$name")
    printf -- '-- %s: FAILED after %s s\n' "$name" $((SECONDS - started))
  fi
}

# nextest LOG ARGS...: a run of the test runner; keeps its closing line.
nextest() {
  local log=$out/$1.log status=0
  shift
  cargo nextest run --locked --workspace --color never "$@" 2>&1 | tee "$log" || status=$?
  closing+=("$(grep -E '^ +Summary \[' "$log" | tail -n 1 | sed 's/^ *//')")
  return "$status"
}

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
  libdir=$(dirname "$(find "$dest" -name gstvllmrealtime.pc)") || return
  [ "$(PKG_CONFIG_PATH=$libdir pkg-config --variable=pluginsdir gstvllmrealtime)" = "$plugins" ] &&
    [ "$(PKG_CONFIG_PATH=$libdir pkg-config --modversion gstvllmrealtime)" = \
      "$(scripts/meson-cargo.py version)" ] || {
    echo "gstvllmrealtime.pc is wrong:"
    cat "$libdir/gstvllmrealtime.pc"
    return 1
  }
}

# The README's table of properties against those that the element has.
readme() {
  local has tells
  has=$(sed -nE '/^Element Properties/,/^Element (Signals|Actions)/s/^  ([a-z][a-z-]*) +: .*/\1/p' \
    "$out/inspect.txt" | grep -vxE 'name|parent' | sort)
  tells=$(sed -nE '/^## Properties/,/^## Messages/s/^\| `([a-z-]+)` .*/\1/p' README.md | sort)
  [ -n "$has" ] && diff <(echo "$has") <(echo "$tells") || {
    echo "< the element has it, > the README has it"
    return 1
  }
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

# conformance LOG: every test that takes a real server where VLLM_REALTIME_URL names one.
conformance() {
  nextest "$1" --run-ignored all --no-tests=fail \
    -E 'binary(vllm) + binary(conformance) + test(/(^|::)vllm/)'
}

# vllm_model MODEL: the same, against a real vLLM of our own.
vllm_model() {
  local model=$1 port log=$out/server-$1.log status=0
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  setsid "$shared/serve.sh" "$model" "$port" >"$log" 2>&1 &
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
    VLLM_CPU=$shared VLLM_RECORDINGS=$shared/recordings conformance "vllm-$model" || status=$?
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

say "${SECONDS} s in all"
[ ${#failed[@]} -eq 0 ] || printf 'FAILED: %s\n' "${failed[@]}"
printf '%s\n' "${closing[@]}"
[ ${#failed[@]} -eq 0 ]
