#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# mutants.sh all
# mutants.sh drawn COUNT SEED     so many of all (whole shards), drawn by the seed
# mutants.sh changed COMMIT       those in lines that have changed since
# mutants.sh told                 what has run so far, and what survived
#
# cargo-mutants changes the session and the transcript in one place at a time; the unit tests and 500
# schedules of the simulation must notice. About a minute for each on two cores. They run in shards of
# ten: stop it whenever you like, the same command goes on behind the last shard that was finished,
# as long as the sources are the same. SECONDS_MOST=N begins no shard after so long. It prints what
# has run and what survived; each survivor has its reason in tests/README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

MUTANTS_VERSION=27.1.0
SHARD=10
files=(-f src/realtime/session.rs -f 'src/realtime/session/*.rs' -f 'src/transcript/*.rs')
root=${CARGO_TARGET_DIR:-$PWD/target}/mutants

told() {
  python3 - "$root" <<'PYTHON'
import sys
from pathlib import Path

for chosen in sorted(Path(sys.argv[1]).glob("*/list")):
    def names(kind):
        files = chosen.parent.glob(f"shard-*/mutants.out/{kind}.txt")
        return sorted(line for f in files for line in f.read_text().splitlines())

    found = {kind: names(kind) for kind in ("caught", "missed", "timeout", "unviable")}
    ran = sum(map(len, found.values()))
    counts = ", ".join(f"{len(v)} {k}" for k, v in found.items())
    print(f"{chosen.parent.name}: {ran} of {len(chosen.read_text().splitlines())} have run: {counts}")
    for name in found["missed"]:
        print(f"  survived: {name}")
PYTHON
}

usage() { die "mutants.sh: all, drawn COUNT SEED, changed COMMIT or told"; }

[ $# -gt 0 ] || usage
[ "$1" != told ] || { told; exit; }
need_rust
command -v cargo-mutants >/dev/null ||
  cargo install --locked --version "$MUTANTS_VERSION" cargo-mutants

export CARGO_TERM_COLOR=never
diff=$root/changed.diff
mkdir -p "$root"
case $1-$# in
all-1 | drawn-3) name=all ;;
changed-2)
  name=changed-$2
  git diff "$2" -- src >"$diff"
  files+=(--in-diff "$diff")
  ;;
*) usage ;;
esac

# The same command over the same sources goes on where it was.
sources=$(find src Cargo.lock -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-8)
set_of=$root/$(tr -c 'A-Za-z0-9\n' - <<<"$name")-$sources
mkdir -p "$set_of"
cargo mutants --list "${files[@]}" >"$set_of/list"
shards=$((($(wc -l <"$set_of/list") + SHARD - 1) / SHARD))

# Which shards: each has mutants of all files.
chosen=$(seq 0 $((shards - 1)))
[ "$1" != drawn ] || chosen=$(python3 -c '
import random, sys
shards, count, seed, each = map(int, sys.argv[1:])
print(*random.Random(seed).sample(range(shards), min(shards, -(-count // each))))
' "$shards" "$2" "$3" "$SHARD")

# One folder for all builds: only what a mutant touches is built again.
export CARGO_TARGET_DIR=$root/build CARGO_INCREMENTAL=1 SIM_SEED=1 SIM_COUNT=500 PROPTEST_CASES=64
for n in $chosen; do
  shard=$set_of/shard-$n
  [ ! -f "$shard/finished" ] || continue
  [ "$SECONDS" -lt "${SECONDS_MOST:-999999999}" ] || break
  say "Shard $n of $shards"
  rm -rf "$shard"
  mkdir -p "$shard"
  # That the tests pass as they are is seen once.
  baseline=skip
  [ -f "$set_of/passes" ] || baseline=run
  status=0
  cargo mutants --output "$shard" "${files[@]}" --shard "$n/$shards" --sharding round-robin \
    --baseline "$baseline" --timeout 300 -- --locked --lib --test simulation || status=$?
  case $status in
  0 | 2 | 3) touch "$set_of/passes" "$shard/finished" ;; # All caught, some missed, some hung.
  *) die "mutants.sh: cargo-mutants ended with $status, see $shard" ;;
  esac
done
told
