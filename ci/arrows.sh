#!/bin/bash
# Fails if a room of the monitor or of the conformance suite imports one that is not below it (ci/arrows.list), if files of the
# suite import each other in a circle, if code of the monitor outside of src/sys is unsafe, or if a file is longer than 500 lines
# without a reason (ci/long-files.list).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
complain() {
    echo "$*" >&2
    failed=1
}

# Prints `FILE PATH...`: for each file of a house all paths into the house that it names, from `crate::`, `super::` and the
# modules it declares; names in braces are taken apart.
paths() {
    local house=$1
    find "$house" -name '*.rs' -not -path '*/target/*' | sort | while IFS= read -r file; do
        sed 's,//.*,,' "$file" | tr '\n' ' ' | awk -v house="$house" -v file="$file" '
        function base(    m) {
            m = substr(file, length(house) + 2)
            sub(/\.rs$/, "", m); sub(/(^|\/)(mod|main|lib)$/, "", m)
            return m
        }
        function up(m) { return m ~ /\// ? substr(m, 1, match(m, /\/[^\/]*$/) - 1) : "" }
        # Prints `prefix` and what follows at the start of `rest`; returns what is left.
        function walk(prefix, rest,    word, done) {
            while (1) {
                sub(/^[ ]+/, "", rest)
                if (substr(rest, 1, 1) == "{") {
                    rest = substr(rest, 2)
                    while (1) {
                        sub(/^[ ,]+/, "", rest)
                        if (rest == "") return rest
                        if (substr(rest, 1, 1) == "}") return substr(rest, 2)
                        rest = walk(prefix, rest)
                    }
                }
                if (!match(rest, /^[A-Za-z0-9_]+/)) { if (prefix != "") print prefix; return substr(rest, 2) }
                word = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1)
                if (word == "super") prefix = up(prefix)
                else if (word != "self") prefix = prefix == "" ? word : prefix "/" word
                if (rest ~ /^[ ]*::/) { sub(/^[ ]*::/, "", rest); continue }
                sub(/^[ ]+as[ ]+[A-Za-z0-9_]+/, "", rest)
                print prefix
                return rest
            }
        }
        {
            text = $0; own = base()
            while (match(text, /mod [a-z_0-9]+;/)) {
                child[substr(text, RSTART + 4, RLENGTH - 5)] = 1
                text = substr(text, RSTART + RLENGTH)
            }
            text = $0; before = " "
            while (match(text, /[A-Za-z_][A-Za-z0-9_]*::/)) {
                if (RSTART > 1) before = substr(text, RSTART - 1, 1)
                word = substr(text, RSTART, RLENGTH - 2); rest = substr(text, RSTART + RLENGTH)
                if (before ~ /[:A-Za-z0-9_$]/) { text = rest; before = ":"; continue }
                if (word == "crate") text = walk("", rest)
                else if (word == "super" && rest !~ /^\*/) text = walk(up(own), rest)
                else if (word in child) text = walk(own == "" ? word : own "/" word, rest)
                else { text = rest; before = ":"; continue }
                before = " "
            }
        }' | sort -u | sed "s,^,$file ,"
    done
}

# The file that a path into a house lies in: of the longest beginning that is one.
file_of() {
    local house=$1 path=$2
    while [ -n "$path" ]; do
        [ ! -e "$house/$path.rs" ] || { found=$house/$path.rs; return; }
        [ ! -e "$house/$path/mod.rs" ] || { found=$house/$path/mod.rs; return; }
        case $path in */*) path=${path%/*} ;; *) break ;; esac
    done
    # An item of the crate's root, or no module at all.
    found=
}

# Prints `FILE IMPORTED` for each import of a house's file by another.
edges_of() {
    local house=$1 file path
    while read -r file path; do
        file_of "$house" "$path"
        [ -z "$found" ] || [ "$found" = "$file" ] || echo "$file $found"
    done < <(paths "$house")
}

# Checks the edges of one house; `level` says on which level its rooms are.
check_levels() {
    local house=$1 edges=$2 file found room imported
    while IFS= read -r file; do
        room=${file#"$house"/} room=${room%%/*} room=${room%.rs}
        [ "$room" = lib ] || [ -n "${level[$room]:-}" ] || complain "$file: give the room $room a level in ci/arrows.list"
    done < <(find "$house" -name '*.rs')
    while read -r file found; do
        room=${file#"$house"/} room=${room%%/*} room=${room%.rs}
        imported=${found#"$house"/} imported=${imported%%/*} imported=${imported%.rs}
        { [ -n "$file" ] && [ "$imported" != "$room" ] && [ "$room" != lib ]; } || continue
        if [ "${level[$imported]:-0}" -ge "${level[$room]:-0}" ]; then
            complain "$file: $room (level ${level[$room]:-none}) must not import $imported (level ${level[$imported]:-none})"
        fi
    done <<<"$edges"
}

check_circles() {
    local house=$1 edges=$2 loop
    loop=$(tsort <<<"$edges" 2>&1 >/dev/null | sed -n 's/^tsort: //p' | grep -v 'input contains a loop' || true)
    [ -z "$loop" ] || complain "these files of $house import each other in a circle:"$'\n'"$loop"
}

house=
declare -A level=()
checked() {
    local edges
    [ -n "$house" ] || return 0
    edges=$(edges_of "$house")
    check_levels "$house" "$edges"
    # The monitor's rooms have parts that know each other.
    [ "$house" = src ] || check_circles "$house" "$edges"
}
while read -r number room; do
    case $number in
    '' | '#'*) ;;
    house)
        checked
        house=$room
        level=()
        ;;
    *) level[$room]=$number ;;
    esac
done <ci/arrows.list
checked
# Each helper program is a crate.
for program in compat-tests/helpers/src/*/main.rs; do
    check_circles "${program%/main.rs}" "$(edges_of "${program%/main.rs}")"
done

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
