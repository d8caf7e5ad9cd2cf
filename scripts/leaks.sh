#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# leaks.sh
#
# Leaks over start, words, flush, errors, lost servers and stop: of GStreamer objects by its
# `leaks` tracer, of memory by valgrind. Ends with a failure where there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

scripts/setup.sh build demo test
need_packages valgrind
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

say "GStreamer objects (GST_TRACERS=leaks)"
cargo test --locked --test leaks

say "Memory (valgrind)"
binary=$(cargo test --locked --no-run --message-format=json --test leaks |
  python3 -c '
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("reason") == "compiler-artifact" and m["target"]["name"] == "leaks" and m["executable"]:
        print(m["executable"])
')
log=$CARGO_TARGET_DIR/valgrind.log
# Only what nothing points to any more counts: GLib keeps its types and GStreamer its registry for
# as long as the process lives.
status=0
CHILD=1 G_SLICE=always-malloc GST_REGISTRY_FORK=no \
  valgrind --log-file="$log" --suppressions=scripts/valgrind.supp --num-callers=40 \
  --undef-value-errors=no --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
  --error-exitcode=99 \
  "$binary" --exact child_that_does_everything --ignored --nocapture || status=$?
tail -n 20 "$log"
[ "$status" -eq 0 ] || die "valgrind ended with $status: see $log"
