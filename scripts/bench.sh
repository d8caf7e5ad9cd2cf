#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# bench.sh [NAME] [OPTIONS...]     NAME: a folder of benches/, as `timing`; without one: all of them
#
# Prints a line for each figure: name, value, unit, goal, `ok` or `short`; the same as JSON is in
# target/bench/NAME.json. Ends with a failure where a figure is short. OPTIONS go to the bench.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

shopt -s nullglob
names=()
for file in benches/*/main.rs; do
  names+=("$(basename "$(dirname "$file")")")
done
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  [ -f "benches/$1/main.rs" ] || die "bench.sh: no bench '$1'. There are: ${names[*]:-none}"
  names=("$1")
  shift
fi
[ ${#names[@]} -gt 0 ] || die "bench.sh: no bench in benches/ yet"

# A folder that is named on the command line lies where the user is.
options=()
while [ $# -gt 0 ]; do
  options+=("$1")
  if [ "$1" = --corpus ] && [ $# -gt 1 ]; then
    options+=("$(cd "$here" && realpath -e -- "$2")")
    shift
  fi
  shift
done

scripts/setup.sh build demo test
[[ " ${names[*]} " != *" speed "* ]] || need_packages python3-websockets python3-numpy
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
status=0
for name in "${names[@]}"; do
  cargo bench --locked --quiet --bench "$name" -- "${options[@]}" || status=$?
done
exit "$status"
