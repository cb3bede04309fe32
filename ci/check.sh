#!/bin/bash
# The checks that need no container: format, lints, arrows between modules, file lengths, links, shell syntax.
#
#   ci/check.sh [--tests]   with --tests also the monitor's unit tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need_cargo

step() { printf -- '--- %s\n' "$*" >&2; }

step format
cargo fmt --all --check
step shell
while IFS= read -r -d '' script; do
    if head -n 1 "$script" | grep -q '^#!/bin/\(ba\)\?sh'; then bash -n "$script"; fi
done < <(find .ci ci scripts -type f -print0)
if have shellcheck; then
    find .ci ci scripts -type f -exec grep -lq '^#!/bin/bash' {} \; -print0 | xargs -0 shellcheck -x -S warning
fi
step arrows
ci/arrows.sh
step links
ci/links.sh
step "man page"
ci/man.sh
step clippy
cargo clippy --workspace --all-targets --quiet -- -D warnings
if [ "${1:-}" = --tests ]; then
    step "unit tests"
    cargo test --quiet -p conmon --bins
fi
