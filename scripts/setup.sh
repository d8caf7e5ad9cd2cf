#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# setup.sh [build] [demo] [voice] [test] [long]     (without arguments: all but the last)
#
# Installs what is missing, on Debian 12 or newer and what descends from it: packages by apt, with
# sudo where you are not root. Touches nothing, and is quick, where all is there.
#
#   build   a C linker, pkg-config, GStreamer's headers
#   demo    GStreamer's tools and plugins, the small recogniser, its model, five readings, a font
#   voice   the recogniser that hears while one speaks: a wheel of PyPI, 85 MB, unzipped into
#           target/moonshine; where it cannot be had, a line says why, and that is no error
#   test    Meson, cargo-nextest, PyGObject, a speech synthesiser, sox
#   long    proxies to test against: Squid, nginx, HAProxy; a browser; a validator of subtitles (PyPI);
#           elements of gst-plugins-rs, built from crates.io into target/others
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

build=(build-essential pkg-config ca-certificates git
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev)
demo=(gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-x gstreamer1.0-libav gstreamer1.0-pulseaudio
  gstreamer1.0-alsa gstreamer1.0-pocketsphinx pocketsphinx-en-us pocketsphinx-testdata
  fonts-dejavu-core)
voice=(python3 python3-pip)
test=(meson ninja-build python3 python3-gi gir1.2-gstreamer-1.0 espeak-ng sox)
long=(squid nginx-light libnginx-mod-rtmp haproxy openssl chromium python3 python3-pip libpango1.0-dev)

[ $# -gt 0 ] || set -- build demo voice test
packages=()
nextest= wheel= others=
for group; do
  case $group in
  build) packages+=("${build[@]}") ;;
  demo) packages+=("${demo[@]}") ;;
  voice) packages+=("${voice[@]}") wheel=yes ;;
  test) packages+=("${test[@]}") nextest=yes ;;
  long) packages+=("${long[@]}") others=yes ;;
  *) die "setup.sh: no group '$group': build, demo, voice, test, long" ;;
  esac
done

need_packages "${packages[@]}"
need_rust
[ -z "$nextest" ] || need_nextest
[ -z "$wheel" ] || get_voice || true
[ -z "$others" ] || { build_others && get_validator; }
