#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# soak.sh N [SEED]
#
# The simulation (tests/simulation) on N schedules of faults from SEED on; by default seeds that
# test.sh never tries, others each time. A seed that fails is printed; SIM_SEED=... with
# SIM_TRACE=1 and `cargo test --test simulation` plays it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

count=${1:-}
[[ $count =~ ^[1-9][0-9]*$ ]] || die "soak.sh N [SEED]: how many schedules?"
seed=${2:-$((1000000 * $(date +%s)))}
scripts/setup.sh build
say "$count schedules from seed $seed"
SIM_COUNT=$count SIM_SEED=$seed cargo test --locked --release --test simulation -- --nocapture
