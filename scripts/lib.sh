# SPDX-License-Identifier: MPL-2.0
#
# What the scripts share. Sourced from the top of the tree, never run.

# A version that Cargo.toml's rust-version can build. Any later one that is there will do.
NEXTEST_VERSION=0.9.143

# rustup puts cargo here; a shell that was open before does not know it yet.
case ":$PATH:" in
*":${CARGO_HOME:-$HOME/.cargo}/bin:"*) ;;
*) PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin ;;
esac

say() { printf '\n== %s\n' "$*"; }

die() {
  printf '%s\n' "$@" >&2
  exit 1
}

# need_packages NAME...: installs those that are missing.
need_packages() {
  local missing=() name
  if ! command -v dpkg-query >/dev/null; then
    echo "No dpkg here: install by hand what these Debian packages hold: $*" >&2
    return 0
  fi
  for name; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
      missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing ${missing[*]}"
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "Not root, and no sudo. As root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  "${root[@]}" apt-get -q update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${missing[@]}" </dev/null
}

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# need_rust: cargo, and a rustc that is new enough for Cargo.toml.
need_rust() {
  local want have
  want=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
  have=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || true
  if command -v cargo >/dev/null && [ -n "$have" ] && version_at_least "$have" "$want"; then
    return 0
  fi
  die "Rust $want or newer is needed; ${have:+rustc $have}${have:-none} was found." \
    "Debian 12's own is too old. With rustup (https://rustup.rs):" \
    "    rustup toolchain install stable && rustup default stable" \
    "and then again."
}

# need_nextest: the test runner.
need_nextest() {
  cargo nextest --version >/dev/null 2>&1 && return 0
  say "Installing cargo-nextest $NEXTEST_VERSION"
  # It has little to work out itself: a light build is ready in half the time.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
    cargo install --locked --version "$NEXTEST_VERSION" cargo-nextest
}

# build_others: the elements of others that tests/others needs.
build_others() {
  local target=${CARGO_TARGET_DIR:-$PWD/target}/others
  [ ! -e "$target/debug/libgsttextwrap.so" ] || [ ! -e "$target/debug/libgstrsclosedcaption.so" ] ||
    return 0
  say "Building closedcaption and textwrap of gst-plugins-rs"
  cargo build --locked --manifest-path tests/others/plugins/Cargo.toml --target-dir "$target" \
    -p gst-plugin-closedcaption -p gst-plugin-textwrap
}

# The wheel of a validator of subtitles; Python reads it as it is.
VALIDATOR='webvtt-py==0.5.1
  --hash=sha256:9d517d286cfe7fc7825e9d4e2079647ce32f5678eb58e39ef544ffbb932610b7'

# get_validator: puts it into the target folder.
get_validator() {
  local folder=${CARGO_TARGET_DIR:-$PWD/target}/webvtt
  [ ! -d "$folder" ] || return 0
  say "Downloading webvtt-py 0.5.1 from PyPI"
  rm -rf "$folder.new"
  python3 -m pip download --no-deps --only-binary :all: --require-hashes --retries 2 \
    --dest "$folder.new" --requirement <(echo "$VALIDATOR" | tr '\n' ' ')
  mv "$folder.new" "$folder"
}

# The wheel of Moonshine, by name and hash: later ones hold no weights.
VOICE='moonshine-voice==0.0.49
  --hash=sha256:03edc378e5236832421ccd382b267e43b95af8008137ad6643f5baf5ba31b579'

# get_voice: unzips it into the target folder; false, with a line that says why, where it cannot be had.
get_voice() {
  local folder=${CARGO_TARGET_DIR:-$PWD/target}/moonshine new why=
  [ ! -d "$folder" ] || return 0
  if [ "$(uname -m)" != x86_64 ]; then
    echo "No Moonshine for $(uname -m) here."
    return 1
  fi
  say "Downloading moonshine-voice 0.0.49 from PyPI (85 MB)"
  mkdir -p "$(dirname "$folder")"
  new=$(mktemp -d "$folder.XXXXXX")
  python3 -m pip download --no-deps --only-binary :all: --require-hashes --retries 2 \
    --dest "$new" --requirement <(echo "$VOICE" | tr '\n' ' ') &&
    python3 - "$new" <<'END' || why="It cannot be downloaded."
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = next(folder.glob("*.whl"))
with zipfile.ZipFile(wheel) as z:
    # What is needed of it, and its licence.
    needed = ("libmoonshine.so", "moonshine_voice.libs/", "assets/tiny-en/", "LICENSE")
    z.extractall(folder, [n for n in z.namelist() if any(part in n for part in needed)])
wheel.unlink()
END
  if [ -n "$why" ]; then
    rm -rf "$new"
    echo "moonshine-voice 0.0.49 (85 MB) is not here: $why"
    return 1
  fi
  chmod 755 "$new"
  mv "$new" "$folder"
}
