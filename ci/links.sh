#!/bin/bash
# Fails if a link from our documents, divergence entries or Podman cases leads nowhere: a file that is not there, or an
# anchor that does not exist. What leads from rules to scenarios and back is checked by ci/specification.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
complain() {
    echo "$*" >&2
    failed=1
}

# has_anchor FILE ANCHOR: an explicit anchor, or a heading as the usual renderers name it.
has_anchor() {
    grep -q "<a id=\"$2\">" "$1" && return
    sed -n 's/^##* *//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g' | grep -qx -- "$2"
}

check() { # FROM TARGET
    local path=${2%%#*} anchor='' base=${1%/*}
    case $2 in *'#'*) anchor=${2#*#} ;; esac
    [ -n "$path" ] || path=${1##*/}
    if [ ! -e "$base/$path" ]; then
        complain "$1: $2 does not exist"
    elif [ -n "$anchor" ] && ! has_anchor "$base/$path" "$anchor"; then
        complain "$1: $2 has no such anchor"
    fi
}

while IFS= read -r document; do
    while IFS= read -r target; do
        case $target in http:* | https:* | mailto:*) ;; *) check "$document" "$target" ;; esac
    done < <(sed 's/`[^`]*`//g' "$document" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//')
done < <(find . -name '*.md' -not -path './target/*')

while IFS= read -r target; do
    check ./fixtures "$target"
done < <(cat fixtures/divergences.toml fixtures/podman/*.toml | grep -oE 'docs/[a-z-]+\.md(#[a-zA-Z0-9_-]+)?' | sort -u)
ci/specification.sh || failed=1
exit $failed
