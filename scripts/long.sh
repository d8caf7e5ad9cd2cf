#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# long.sh
#
# What takes longer than test.sh may: the demo and its page, the tests that a plain run leaves out (long
# pipelines, real proxies), 20,000 schedules of the simulation, each fuzzer for 3 minutes. At most 45 minutes on two
# cores. It uses what test.sh has built, and prints what took longest. The last line is the test
# runner's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
. scripts/steps.sh

[ $# -eq 0 ] || die "long.sh takes no options"
scripts/setup.sh build demo voice test long
begin long

schedules() { SIM_COUNT=20000 nextest simulation -E 'binary(simulation)'; }

# The demo as a newcomer runs it, and its page in a browser.
demo() { scripts/demo.sh && scripts/page.py "$CARGO_TARGET_DIR/demo"; }

step "demo and its page" demo
step "long tests" nextest tests "${LONG[@]}"
step "20,000 schedules" schedules
step "fuzzers" scripts/fuzz.sh 180
finish
