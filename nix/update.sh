#!/bin/bash
# Pins the newest revision of nixpkgs' stable branch in nix/nixpkgs.json. Needs git, nix and the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
branch=$(sed -n 's,.*/archive/\(.*\)\.tar\.gz.*,\1,p' nixpkgs.nix)
revision=$(git ls-remote https://github.com/NixOS/nixpkgs "refs/heads/$branch" | cut -f 1)
[ -n "$revision" ] || { echo "update.sh: $branch has no revision" >&2 && exit 1; }
url=https://github.com/NixOS/nixpkgs/archive/$revision.tar.gz
sha256=$(nix-prefetch-url --unpack "$url")
printf '{\n  "url": "%s",\n  "sha256": "%s"\n}\n' "$url" "$sha256" >nixpkgs.json
