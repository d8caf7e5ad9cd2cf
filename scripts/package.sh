#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# package.sh [--install-test]
#
# Builds the Debian package gstreamer1.0-vllmrealtime by cargo-deb, into target/debian.
#
#   --install-test   as root: installs it in a fresh Debian 12 (debootstrap, into target/chroot), where
#                    gst-inspect-1.0 must know all elements, and a pipeline must give captions of real
#                    speech, by the stand-in on this machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

# The newest that builds with this Rust.
CARGO_DEB_VERSION=3.8.0
SUITE=bookworm

test_install=
for arg; do
  case $arg in
  --install-test) test_install=yes ;;
  *) die "package.sh: no option '$arg': --install-test" ;;
  esac
done

scripts/setup.sh build
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
command -v cargo-deb >/dev/null ||
  cargo install --locked --version "$CARGO_DEB_VERSION" cargo-deb
rm -f "$CARGO_TARGET_DIR"/debian/*.deb
cargo deb --locked --quiet --multiarch same --output "$CARGO_TARGET_DIR/debian/"
package=$(ls "$CARGO_TARGET_DIR"/debian/*.deb)
say "$package"
dpkg-deb --info "$package" | sed -n 's/^ \(Package\|Version\|Depends\|Installed-Size\)/\1/p'
[ -n "$test_install" ] || exit 0

[ "$(id -u)" -eq 0 ] || die "package.sh --install-test needs root, for the chroot"
scripts/setup.sh demo test
need_packages debootstrap
cargo build --locked --release --quiet -p vllm-standin
chroot=$CARGO_TARGET_DIR/chroot
[ -e "$chroot/etc/debian_version" ] || debootstrap --variant=minbase "$SUITE" "$chroot"
cp "$package" "$chroot/tmp/vllmrealtime.deb"
speech=/usr/share/pocketsphinx/test/data/librivox
cp $speech/*-0870.wav "$chroot/tmp/speech.wav"
inside() { chroot "$chroot" /usr/bin/env LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
inside apt-get -q update
inside apt-get -q install -y --no-install-recommends /tmp/vllmrealtime.deb \
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-x

say "gst-inspect-1.0, in the chroot"
for element in vllmrealtimeasr textrollup vllmcaptionoverlay; do
  inside gst-inspect-1.0 "$element" | sed -n 's/^ *Long-name *//p'
done

say "Captions, in the chroot"
log=$(mktemp)
trap 'kill "$server" 2>/dev/null; rm -f "$log"' EXIT
"$CARGO_TARGET_DIR/release/vllm-standin" --voice aligned --audio $speech/*-0870.wav \
  --words tests/data/real/0870.words.json >"$log" &
server=$!
for _ in $(seq 100); do
  grep -q listening "$log" && break
  sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$log")
inside gst-launch-1.0 -q filesrc location=/tmp/speech.wav ! wavparse ! vllmrealtimeasr url="$url" ! \
  textrollup mode=pop-on newline=true ! filesink location=/tmp/captions.txt
cat "$chroot/tmp/captions.txt"
grep -qi dashwood "$chroot/tmp/captions.txt" || die "package.sh: these are no captions of the speech"
inside dpkg --purge gstreamer1.0-vllmrealtime
say "ok"
