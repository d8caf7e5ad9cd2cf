#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# soak.sh [N [SEED]]
#
# Runs N schedules (100,000) of the simulation, from SEED or from a seed of its own, which it prints:
# the session against a simulated server, with faults drawn at random. A schedule that fails is
# printed with its seed: SIM_SEED=... SIM_TRACE=1 cargo test --test simulation -- --nocapture
# shows what happened in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

count=${1:-100000}
seed=${2:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}
case $count$seed in
*[!0-9]*) die "soak.sh: how many schedules, and from which seed: two numbers" ;;
esac
say "$count schedules from seed $seed"
SIM_SEED=$seed SIM_COUNT=$count exec cargo test --locked --test simulation -- \
  --nocapture schedules
