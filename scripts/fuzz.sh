#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# fuzz.sh [--empty] [SECONDS [TARGET...]]
#
# Builds the fuzz targets with libFuzzer and runs each for so long (180 s), as many at a time as
# there are cores. Needs a C++ compiler and a stable Rust, not cargo-fuzz. Inputs that reach new code
# are kept in target/fuzz/corpus, and a later run goes on from there and from tests/fuzz/corpus. An
# input that fails is in target/fuzz/found.
#
#   --empty   begins with no inputs at all
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

empty=
if [ "${1:-}" = --empty ]; then
  empty=yes
  shift
fi
seconds=${1:-180}
case $seconds in
'' | *[!0-9]*) die "fuzz.sh: for how many seconds? '$seconds' is no number" ;;
esac
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
  set -- $(cd fuzz/fuzz_targets && ls ./*.rs | sed 's,^./,,; s,\.rs$,,')
fi

host=$(rustc -vV | sed -n 's/^host: //p')
here=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
mkdir -p "$here/corpus" "$here/found"
bins=()
for target; do
  [ -f "fuzz/fuzz_targets/$target.rs" ] || die "fuzz.sh: no target '$target' in fuzz/fuzz_targets"
  bins+=(--bin "$target")
done

say "Building $*"
# What `cargo fuzz build -s none` passes on: the compiler counts the ways through the code.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=4" \
  cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" \
  --target-dir "$here/build" "${bins[@]}"

# one TARGET: its closing lines, or the end of its log where it found something.
one() {
  local kept=$here/corpus/$1 log=$here/$1.log status=0 folders
  [ -z "$empty" ] || rm -rf "$kept"
  mkdir -p "$kept"
  folders=("$kept")
  [ -n "$empty" ] || [ ! -d "tests/fuzz/corpus/$1" ] || folders+=("tests/fuzz/corpus/$1")
  "$here/build/$host/release/$1" -max_total_time="$seconds" -max_len=2048 -timeout=60 \
    -artifact_prefix="$here/found/$1-" -print_final_stats=1 "${folders[@]}" >"$log" 2>&1 ||
    status=$?
  if [ $status -eq 0 ]; then
    echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(sed -nE \
      's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1) places reached"
  else
    echo "$1: FAILED, $log:"
    tail -n 40 "$log"
  fi
  return "$status"
}

say "Running each for $seconds s"
pids=() status=0
for target; do
  # As many at a time as there are cores.
  [ ${#pids[@]} -lt "$(nproc)" ] || { wait "${pids[0]}" || status=1; pids=("${pids[@]:1}"); }
  one "$target" &
  pids+=($!)
done
for pid in "${pids[@]}"; do
  wait "$pid" || status=1
done
exit $status
