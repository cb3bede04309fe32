#!/bin/bash
# Fails if a module of the monitor imports one that is not below it (ci/arrows.list), if code outside of src/sys is unsafe,
# or if a file is longer than 500 lines without a reason (ci/long-files.list).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
complain() {
    echo "$*" >&2
    failed=1
}

declare -A level
while read -r number module; do
    case $number in '' | '#'*) ;; *) level[$module]=$number ;; esac
done <ci/arrows.list

# Prints the first name of each `crate::` path in a file, also of those in braces.
imports() {
    sed 's,//.*,,' "$1" | tr '\n' ' ' | awk '{
        text = $0
        while ((at = index(text, "crate::")) > 0) {
            before = at > 1 ? substr(text, at - 1, 1) : " "
            text = substr(text, at + 7)
            if (before ~ /[A-Za-z0-9_$]/) continue
            if (substr(text, 1, 1) != "{") {
                match(text, /^[A-Za-z0-9_]+/)
                if (RLENGTH > 0) print substr(text, 1, RLENGTH)
                continue
            }
            depth = 0; fresh = 0
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                if (c == "{") { depth++; fresh = depth == 1 }
                else if (c == "}") { if (--depth == 0) break }
                else if (c == ",") fresh = depth == 1
                else if (fresh && c ~ /[A-Za-z0-9_]/) {
                    match(substr(text, i), /^[A-Za-z0-9_]+/)
                    print substr(text, i, RLENGTH)
                    fresh = 0
                }
            }
        }
    }' | sort -u
}

while IFS= read -r file; do
    module=${file#src/} module=${module%%/*} module=${module%.rs}
    if [ -z "${level[$module]:-}" ]; then
        complain "$file: give the module $module a level in ci/arrows.list"
        continue
    fi
    for imported in $(imports "$file"); do
        # A macro or another item of the crate's root has no level.
        [ -e "src/$imported.rs" ] || [ -d "src/$imported" ] || continue
        [ "$imported" != "$module" ] || continue
        if [ -z "${level[$imported]:-}" ]; then
            complain "$file imports $imported, which has no level in ci/arrows.list"
        elif [ "${level[$imported]}" -ge "${level[$module]}" ]; then
            complain "$file: $module (level ${level[$module]}) must not import $imported (level ${level[$imported]})"
        fi
    done
done < <(find src -name '*.rs' | sort)

while IFS= read -r found; do
    complain "unsafe code outside of sys: $found"
done < <(grep -rnE '\bunsafe\b' --include='*.rs' src |
    grep -v '^src/sys/' | grep -vE ':[0-9]+:[[:space:]]*//|unsafe_code|unsafe_op_in' || true)

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 500 ] && ! grep -q "^$file ." ci/long-files.list; then
        complain "$file has $lines lines: split it, or say in ci/long-files.list why not"
    fi
done < <(find src compat-tests -name '*.rs' -not -path '*/target/*')
while read -r file _; do
    case $file in '' | '#'*) continue ;; esac
    { [ -e "$file" ] && [ "$(wc -l <"$file")" -gt 500 ]; } || complain "ci/long-files.list: $file is not too long any more"
done <ci/long-files.list

exit $failed
