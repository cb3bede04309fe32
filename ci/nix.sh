#!/bin/bash
# Parses the nix expressions and evaluates them with stand-ins for nixpkgs (nix/check.nix): what can be checked without it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# A store that needs neither root nor a daemon.
store=$(mktemp -d "${TMPDIR:-/tmp}/conmon-nix.XXXXXX")
trap 'chmod -R u+w "$store"; rm -rf "$store"' EXIT
export NIX_STORE_DIR=$store/store NIX_STATE_DIR=$store/state NIX_LOG_DIR=$store/log NIX_CONF_DIR=$store/conf HOME=$store
for file in flake.nix nix/*.nix; do nix-instantiate --parse "$file" >/dev/null; done
evaluated=$(nix-instantiate --eval --strict nix/check.nix)
expected="\"conmon $(ci/version.sh)\""
[ "$evaluated" = "$expected" ] || { echo "nix/check.nix says $evaluated, expected $expected" >&2 && exit 1; }
echo "nix: $evaluated"
