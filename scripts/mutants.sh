#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# mutants.sh all
# mutants.sh drawn COUNT SEED     so many of all, drawn by the seed
# mutants.sh changed COMMIT       those in lines that have changed since
# mutants.sh named FILE           those of these names, a line each
# mutants.sh told                 what has run so far, and what survived
#
# cargo-mutants finds the places at which session, transcript and sound can be changed; tests/mutants
# weaves those that are chosen into one build, behind a switch, and runs the unit tests and 500
# schedules of the simulation once for each: they must notice. Stop it whenever you like: the same command goes
# on where it was, as long as the sources are the same. SECONDS_MOST=N begins none after so long,
# THREADS=N runs so many at a time (2). It prints what has run and what survived; each survivor has
# its reason in tests/README.md. `unviable`: does not build, or cannot be woven in (constants, fields,
# chains with `let`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

MUTANTS_VERSION=27.1.0
files=(-f src/realtime/session.rs -f 'src/realtime/session/*.rs' -f 'src/transcript/*.rs'
  -f 'src/transcript/*/*.rs' -f 'src/speech/*.rs')
root=${CARGO_TARGET_DIR:-$PWD/target}/mutants

told() {
  local results
  for results in "$root"/*/results; do
    [ -f "$results" ] || continue
    say "$results"
    cut -f 1 "$results" | sort | uniq -c
    sed -n 's/^survived\t/  survived: /p' "$results" | sort
  done
}

usage() { die "mutants.sh: all, drawn COUNT SEED, changed COMMIT, named FILE or told"; }

[ $# -gt 0 ] || usage
[ "$1" != told ] || { told; exit; }
need_rust
command -v cargo-mutants >/dev/null ||
  cargo install --locked --version "$MUTANTS_VERSION" cargo-mutants

# What has run over the same sources is not run again.
sources=$(find src Cargo.lock -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-8)
here=$root/$sources
mkdir -p "$here"
cargo mutants --list --json "${files[@]}" >"$here/list.json"
cargo mutants --list "${files[@]}" >"$here/names"
case $1-$# in
all-1) cp "$here/names" "$here/chosen" ;;
drawn-3) python3 -c '
import random, sys
names = sys.stdin.read().splitlines()
random.Random(int(sys.argv[2])).shuffle(names)
print(*names[:int(sys.argv[1])], sep="\n")
' "$2" "$3" <"$here/names" >"$here/chosen" ;;
changed-2)
  git diff "$2" -- src >"$here/changed.diff"
  cargo mutants --list "${files[@]}" --in-diff "$here/changed.diff" >"$here/chosen"
  ;;
named-2) cp "$2" "$here/chosen" ;;
*) usage ;;
esac

say "$(wc -l <"$here/chosen") of $(wc -l <"$here/names") mutants"
rm -rf "$here/tree"
mkdir "$here/tree"
git ls-files -z | xargs -0 cp --parents -t "$here/tree"
cargo build --release --quiet --manifest-path tests/mutants/Cargo.toml --target-dir "$root/tool"
CARGO_TARGET_DIR=$root/build "$root/tool/release/mutants" "$here/list.json" "$here/tree" \
  "$here/results" "${SECONDS_MOST:-999999999}" "$here/chosen"
told
