#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# tsan.sh
#
# ThreadSanitizer over what the client's threads share (tests/transport). Everything, the
# standard library included, is built with it, which needs a nightly toolchain with rust-src:
# `rustup toolchain install nightly --component rust-src`. GStreamer's own code is not built with
# it, so the element's tests would only give false alarms.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

target=$(rustc -vV | sed -n 's/^host: //p')
[ -d "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src" ] ||
  die "No nightly toolchain with rust-src: rustup toolchain install nightly --component rust-src"
RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/tsan \
  cargo +nightly test --locked -Zbuild-std --target "$target" --test transport "$@"
