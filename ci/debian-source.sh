#!/bin/bash
# Makes the parts of a Debian source package from the commit that is checked out, and lays them out to be built.
#
#   ci/debian-source.sh DIR     DIR/conmon_VERSION.orig.tar.gz, DIR/conmon_VERSION.orig-vendor.tar.xz, and the tree
#                               DIR/conmon-VERSION with both, in which dpkg-buildpackage runs without network
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${1:?a directory}
version=$(ci/version.sh)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
for part in source vendor; do ci/dist.sh $part "$dir"; done
mv "$dir/conmon-$version.tar.gz" "$dir/conmon_$version.orig.tar.gz"
mv "$dir/conmon-$version-vendor.tar.xz" "$dir/conmon_$version.orig-vendor.tar.xz"
rm -rf "${dir:?}/conmon-$version"
tar -xzf "$dir/conmon_$version.orig.tar.gz" -C "$dir"
tar -xJf "$dir/conmon_$version.orig-vendor.tar.xz" -C "$dir/conmon-$version"
echo "$dir/conmon-$version"
