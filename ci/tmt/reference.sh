#!/bin/bash
# reference.sh DIR: puts the distribution's conmon into DIR, taken out of its package.
set -euo pipefail
dir=${1:?a directory}
mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Whichever repository the one under test came from, that is not the one.
cd "$work"
for repository in fedora updates appstream AppStream baseos; do
    dnf download --disablerepo='*' --enablerepo="$repository" --arch "$(uname -m)" conmon 2>/dev/null || true
done
package=$(find . -name 'conmon-*.rpm' | sort -V | tail -n 1)
[ -n "$package" ] || { echo "no repository has the distribution's conmon" >&2 && exit 1; }
rpm2cpio "$package" | cpio -idm --quiet ./usr/bin/conmon
install -m 755 usr/bin/conmon "$dir/conmon"
"$dir/conmon" --version
