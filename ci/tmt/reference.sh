#!/bin/bash
# reference.sh DIR: puts the distribution's conmon into DIR, taken out of its package (Debian's or Fedora's).
set -euo pipefail
dir=${1:?a directory}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if command -v apt-get >/dev/null; then
    # The newest that is not ours. apt's own user could not write here.
    version=$(apt-cache madison conmon | awk 'version == "" && $3 !~ /[+]rust/ { version = $3 } END { print version }')
    [ -n "$version" ] || { echo "no repository has the distribution's conmon" >&2 && exit 1; }
    apt-get download -qq -o APT::Sandbox::User=root "conmon=$version"
    dpkg-deb -x conmon_*.deb .
else
    # Whichever repository the one under test came from, that is not the one.
    for repository in fedora updates appstream AppStream baseos; do
        dnf download --disablerepo='*' --enablerepo="$repository" --arch "$(uname -m)" conmon 2>/dev/null || true
    done
    package=$(find . -name 'conmon-*.rpm' | sort -V | tail -n 1)
    [ -n "$package" ] || { echo "no repository has the distribution's conmon" >&2 && exit 1; }
    rpm2cpio "$package" | cpio -idm --quiet ./usr/bin/conmon
fi
install -m 755 usr/bin/conmon "$dir/conmon"
"$dir/conmon" --version
