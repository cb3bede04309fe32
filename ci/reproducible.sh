#!/bin/bash
# Builds the monitor twice, in directories of different length and with different cargo homes, and fails unless both binaries
# are the same to the byte and name neither place.
#
#   ci/reproducible.sh [OUT]    OUT becomes the binary
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need_cargo
work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-twice.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
home=${CARGO_HOME:-$HOME/.cargo}
cargo fetch --locked --quiet
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)

# build DIRECTORY CARGO-HOME
build() {
    mkdir -p "$1" "$2"
    # What is checked out, with what has been edited; not the directories of builds.
    git ls-files -z --cached | xargs -0 tar -c --ignore-failed-read 2>/dev/null | tar -x -C "$1"
    ln -s "$home/registry" "$2/registry"
    [ ! -e "$home/config.toml" ] || cp "$home/config.toml" "$2/"
    CONMON_GIT_COMMIT=$commit CARGO_HOME=$2 CARGO_TARGET_DIR=$1/target \
        make --no-print-directory -C "$1" release REPRODUCIBLE=yes CARGOFLAGS='--locked --offline --quiet' >"$1.log" 2>&1
}
build "$work/a" "$work/cargo" &
first=$!
build "$work/another/and/longer/one" "$work/another-home" || { cat "$work/another/and/longer/one.log" >&2 && exit 1; }
wait "$first" || { cat "$work/a.log" >&2 && exit 1; }
one=$work/a/target/release/conmon two=$work/another/and/longer/one/target/release/conmon
if ! cmp "$one" "$two"; then
    say "the build depends on its place"
    exit 1
fi
if LC_ALL=C grep -a -o -m 3 -e "${work}[^[:cntrl:]]*" "$one"; then
    say "the binary names the place it was built in"
    exit 1
fi
[ -z "${1:-}" ] || install -m 755 "$one" "$1"
echo "reproducible: $(sha256sum "$one" | cut -c 1-64), $(stat -c %s "$one") bytes"
