# Functions shared by the scripts: what the machine lacks is said, and installed where that is possible.
# shellcheck shell=bash

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$TOP/target}
MSRV=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$TOP/Cargo.toml" | head -n 1)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "${0##*/}: $*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

need_root() { [ "$(id -u)" = 0 ] || die "must run as root: it starts a container of its own (and may install packages)"; }

# Says "apt" or "dnf", or nothing where packages cannot be installed.
package_manager() {
    if have apt-get; then
        echo apt
    elif have dnf; then
        echo dnf
    fi
}

apt_updated=
# install_packages DEBIAN-NAMES FEDORA-NAMES: each a list in one word; an empty list means there is nothing to install.
install_packages() {
    local names
    case $(package_manager) in
    apt) names=$1 ;;
    dnf) names=$2 ;;
    *) die "this is neither a Debian nor a Fedora system; please install: $1" ;;
    esac
    [ -n "$names" ] || return 0
    [ "$(id -u)" = 0 ] || die "please install, or run this as root: $names"
    say "installing $names"
    local log status=0
    log=$(mktemp)
    # shellcheck disable=SC2086
    case $(package_manager) in
    apt)
        if [ -z "$apt_updated" ]; then
            apt-get update -qq >&2 || say "the package lists could not be updated"
            apt_updated=yes
        fi
        # Another script may be installing something meanwhile.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 \
            -o DPkg::Lock::Timeout=300 $names \
            </dev/null >"$log" 2>&1 || status=$?
        ;;
    dnf) dnf install -y -q --setopt=install_weak_deps=False $names </dev/null >"$log" 2>&1 || status=$? ;;
    esac
    [ "$status" = 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

# need COMMAND DEBIAN-NAMES FEDORA-NAMES: installs the packages if the command is missing.
need() {
    have "$1" || install_packages "$2" "$3" || die "$1 is missing and could not be installed"
    have "$1" || die "$1 is still missing"
}

# True if version $1 is at least $2.
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

cargo_version() { { "$1" --version 2>/dev/null || true; } | sed -n 's/^cargo \([0-9.]*\).*/\1/p'; }

# Finds a cargo that is new enough: the first in PATH, rustup's, or the distribution's.
need_cargo() {
    local candidate version
    for candidate in cargo "${CARGO_HOME:-$HOME/.cargo}/bin/cargo"; do
        version=$(cargo_version "$candidate")
        if [ -n "$version" ] && at_least "$version" "$MSRV"; then
            use_cargo "$candidate"
            return
        fi
    done
    if [ "$(package_manager)" = dnf ] && ! have cargo; then
        install_packages "" cargo
        version=$(cargo_version cargo)
        if [ -n "$version" ] && at_least "$version" "$MSRV"; then
            use_cargo cargo
            return
        fi
    fi
    die "Rust $MSRV or newer is needed, found ${version:-none}. Debian 12 and Ubuntu 24.04 have older ones:" \
        "install a current toolchain with rustup (https://rustup.rs)."
}

use_cargo() {
    case $1 in */*) PATH=$(dirname "$1"):$PATH ;; esac
    # cargo links with cc.
    need cc "gcc libc6-dev" gcc
}

# A busybox that works in an otherwise empty file system; says its path.
static_busybox() {
    local path
    for path in /bin/busybox /usr/bin/busybox /sbin/busybox /usr/sbin/busybox; do
        if [ -x "$path" ] && is_static "$path"; then
            echo "$path"
            return
        fi
    done
    install_packages busybox-static busybox || return 1
    for path in /bin/busybox /usr/bin/busybox /sbin/busybox /usr/sbin/busybox; do
        if [ -x "$path" ] && is_static "$path"; then
            echo "$path"
            return
        fi
    done
    die "no static busybox"
}

# A dynamic program names its loader.
is_static() { ! LC_ALL=C head -c 4096 "$1" | grep -q -a 'ld-linux\|ld-musl\|/ld\.so\|/ld64\.so'; }
