#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Runs align-corpus.py with PyPI's pocketsphinx 5.1, in a virtual environment under target/.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv="$root/target/venv"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import pocketsphinx' 2>/dev/null ||
    "$venv/bin/pip" install --quiet pocketsphinx==5.1.0
exec "$venv/bin/python" "$root/scripts/align-corpus.py" "$@"
