#!/bin/bash
# What must hold for the sources and takes neither cargo nor a container.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for check in version man arrows links; do
    echo "--- $check"
    "ci/$check.sh"
done
if command -v shellcheck >/dev/null; then
    grep -rlI '^#!/bin/bash' .ci ci scripts nix | xargs shellcheck -x -S warning
fi
if command -v go-md2man >/dev/null; then
    go-md2man -in docs/conmon.8.md | grep -q '^\.SH NAME'
fi
