# SPDX-License-Identifier: MPL-2.0
#
# What test.sh and long.sh share: steps that all run, whatever became of those before them, and what
# is told at the end. Sourced behind lib.sh, with $out as a folder for what a run leaves.

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
# Incremental builds cost time and disk where the build is thrown away.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

# Only the tests that .config/nextest.toml leaves out of a plain run.
LONG=(--ignore-default-filter -E 'not default()')

failed=()
closing=()
steps=()

# begin FOLDER: an empty folder for what this run leaves.
begin() {
  out=$CARGO_TARGET_DIR/$1
  rm -rf "$out"
  mkdir -p "$out"
}

# step NAME COMMAND...
step() {
  local name=$1 started=$SECONDS status=0 took
  shift
  say "$name"
  "$@" || status=$?
  took=$((SECONDS - started))
  steps+=("$took s  $name")
  if [ $status -eq 0 ]; then
    printf -- '-- %s: %s s\n' "$name" $took
  else
    failed+=("$name")
    printf -- '-- %s: FAILED after %s s\n' "$name" $took
  fi
}

# nextest LOG ARGS...: a run of the test runner; keeps its closing line, and each test's time.
nextest() {
  local log=$out/$1.log junit=$CARGO_TARGET_DIR/nextest/default/junit.xml status=0
  shift
  rm -f "$junit"
  cargo nextest run --locked --workspace --color never "$@" 2>&1 | tee "$log" || status=$?
  closing+=("$(grep -E '^ +Summary \[' "$log" | tail -n 1 | sed 's/^ *//')")
  [ ! -f "$junit" ] || cp "$junit" "${log%.log}.xml"
  return "$status"
}

# What took longest: the steps, and the ten slowest tests of all runs.
slowest() {
  say "Steps by time"
  printf '%s\n' "${steps[@]}" | sort -rn
  say "The slowest tests"
  python3 - "$out" <<'PYTHON'
import sys
from pathlib import Path
from xml.etree import ElementTree

cases = [c for f in Path(sys.argv[1]).glob("*.xml") for c in ElementTree.parse(f).iter("testcase")]
for c in sorted(cases, key=lambda c: -float(c.get("time")))[:10]:
    print(f"{float(c.get('time')):6.1f} s  {c.get('classname')} {c.get('name')}")
PYTHON
}

# The end of a run: what took longest, what failed, and as the last line the test runner's own.
finish() {
  slowest
  say "${SECONDS} s in all"
  [ ${#failed[@]} -eq 0 ] || printf 'FAILED: %s\n' "${failed[@]}"
  [ ${#closing[@]} -eq 0 ] || printf '%s\n' "${closing[@]}" | tee "$out/summary"
  [ ${#failed[@]} -eq 0 ]
}
