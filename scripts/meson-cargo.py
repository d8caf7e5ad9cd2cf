#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Meson's hands on cargo.

meson-cargo.py version
meson-cargo.py build PROFILE TARGET_DIR OUTPUT DEPFILE
meson-cargo.py test PROFILE TARGET_DIR
"""

import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = "libgstvllmrealtime"


def cargo(*args):
    done = subprocess.run(["cargo", *args], cwd=TOP, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def version():
    text = (TOP / "Cargo.toml").read_text(encoding="utf-8")
    print(re.search(r'^version = "(.*)"', text, re.M).group(1))


def build(profile, target_dir, output, depfile):
    cargo("build", "--locked", "--lib", "--profile", profile, "--target-dir", target_dir)
    built = pathlib.Path(target_dir) / ("debug" if profile == "dev" else profile)
    shutil.copy2(built / f"{LIBRARY}.so", output)
    # Cargo's own list of sources (one rule for all that the library is built as), under the name
    # that ninja knows.
    sources = (built / f"{LIBRARY}.d").read_text(encoding="utf-8").splitlines()[0].split(": ", 1)[1]
    pathlib.Path(depfile).write_text(f"{pathlib.Path(output).name}: {sources}\n", encoding="utf-8")


def test(profile, target_dir):
    common = ["--locked", "--workspace", "--target-dir", target_dir]
    if shutil.which("cargo-nextest"):
        cargo("nextest", "run", "--cargo-profile", profile, *common)
    else:
        cargo("test", "--profile", profile, *common)


if __name__ == "__main__":
    {"version": version, "build": build, "test": test}[sys.argv[1]](*sys.argv[2:])
