#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Teaches the acoustic model, src/speech/sounds.bin: see scripts/sounds/main.py. All of it takes
# about an hour on two cores, and neither the tests nor the demo need it.
#
#   train-sounds.sh [DIR]            everything, below target/sounds by default
#   train-sounds.sh COMMAND DIR      one step
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

need_packages espeak-ng flite sox python3-venv
target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$target/sounds-venv
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --require-hashes --requirement scripts/sounds/requirements.txt
fi
step() { "$venv/bin/python" scripts/sounds/main.py "$@"; }
frames() { cargo bench --locked --quiet --bench timing -- frames "$1/teach"; }

if [ $# -eq 2 ]; then
  [ "$1" != teach ] || frames "$2"
  step "$@"
  exit
fi
dir=${1:-$target/sounds}
for command in speech worsen sets; do
  step "$command" "$dir"
done
frames "$dir"
step teach "$dir"
