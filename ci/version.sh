#!/bin/bash
# Prints the version, and fails if a file that has to repeat Cargo.toml's does not say the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
failed=0
agree() { # FILE FOUND
    [ "$2" = "$version" ] || { echo "$1 says ${2:-nothing}, Cargo.toml $version" >&2 && failed=1; }
}
agree Cargo.lock "$(sed -n '/^name = "conmon"$/{n;s/^version = "\(.*\)"/\1/p;}' Cargo.lock)"
agree debian/changelog "$(sed -n '1s/^conmon (\(.*\)-[^-]*) .*/\1/p' debian/changelog)"
agree rpm/conmon.spec "$(sed -n 's/^Version: *//p' rpm/conmon.spec)"
agree CHANGELOG.md "$(grep -m1 "^## " CHANGELOG.md | grep -oE "[0-9]+\.[0-9]+\.[0-9]+\+rust\.[0-9]+" || true)"
echo "$version"
exit $failed
