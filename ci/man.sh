#!/bin/bash
# Fails if the man page's source has what go-md2man loses or misunderstands: a bare angle bracket (taken for HTML), or a
# heading of the second level (made a section like those of the first).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
page=docs/conmon.8.md
failed=0
if grep -nE '(^|[^\\])<[^ ]' "$page"; then
    echo "$page: write \\< for an angle bracket" >&2
    failed=1
fi
if grep -n '^## ' "$page"; then
    echo "$page: write ### for a heading inside a section" >&2
    failed=1
fi
exit $failed
