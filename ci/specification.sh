#!/bin/bash
# Keeps the specification and the scenarios together: which scenarios show a rule is written in the scenarios (`rules`),
# and listed below each rule and counted in the overview.
#
#   ci/specification.sh           fails where the lists are not true: a scenario without a rule or with an unknown one, a
#                                 rule without a scenario and without a reason, an anchor that is not its rule's name, a row
#                                 of the differences that no rule mentions
#   ci/specification.sh --write   writes the lists anew first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
write=
[ "${1:-}" != --write ] || write=1
failed=0
complain() {
    echo "$*" >&2
    failed=1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
specification=docs/specification

# One line for each scenario and rule.
grep -r '^rules = \[.*\]$' --include='*.toml' fixtures/scenarios |
    sed -E 's|^fixtures/scenarios/([^:]*)\.toml:rules = \[(.*)\]$|\1 \2|; s/[",]//g' |
    awk '{ for (i = 2; i <= NF; i++) print $i, $1 }' | sort -u >"$scratch/shown"
find fixtures/scenarios -name '*.toml' | sed 's|^fixtures/scenarios/||; s|\.toml$||' | sort >"$scratch/all"
while read -r scenario; do
    complain "fixtures/scenarios/$scenario.toml: names no rule (\`rules = [\"...\"]\` on one line)"
done < <(awk '{ print $2 }' "$scratch/shown" | sort -u | comm -13 - "$scratch/all")

# A chapter with its lists; the other results go to files.
chapter() {
    awk -v chapter="$1" -v shown="$scratch/shown" -v rules="$scratch/rules" -v faults="$scratch/faults" '
        BEGIN {
            while ((getline line < shown) > 0) {
                split(line, word, " ")
                link = "[" word[2] "](../../fixtures/scenarios/" word[2] ".toml)"
                list[word[1]] = list[word[1]] (list[word[1]] == "" ? "" : ", ") link
                count[word[1]]++
            }
        }
        function finish() {
            if (rule == "") return
            if (has_list && !count[rule]) print chapter ": " rule " is shown by no scenario" >> faults
            if (!has_list && count[rule]) print chapter ": " rule " lacks its list (a line `*Shown by:*`)" >> faults
            if (!has_list && !has_reason) print chapter ": " rule " is neither shown nor says why not" >> faults
            print rule, chapter, count[rule] + 0 >> rules
        }
        /^### <a id="/ {
            finish()
            anchor = $0; sub(/^### <a id="/, "", anchor); sub(/".*/, "", anchor)
            rule = $0; sub(/^[^>]*><\/a>/, "", rule); sub(/ .*/, "", rule)
            has_list = has_reason = 0
            if (anchor != tolower(rule)) print chapter ": the anchor of " rule " is " anchor >> faults
        }
        /^## / { finish(); rule = "" }
        /^\*Not shown/ { has_reason = 1 }
        /^\*Shown by:\*/ { has_list = 1; print "*Shown by:* " list[rule]; next }
        { print }
        END { finish() }
    ' "$specification/$1"
}

# result FILE: what FILE should be is on standard input.
result() {
    cat >"$scratch/result"
    if [ -n "$write" ]; then
        cmp -s "$scratch/result" "$1" || cp "$scratch/result" "$1"
    elif ! cmp -s "$scratch/result" "$1"; then
        complain "$1: a list is not true; ci/specification.sh --write mends it"
        diff "$1" "$scratch/result" | cut -c 1-200 | head -4 >&2 || true
    fi
}

# put NAME FILE: what stands between the marks of NAME in FILE is to be $scratch/list.
put() {
    awk -v name="$1" -v list="$scratch/list" '
        $0 ~ "^<!-- end of the " name " -->" { skip = 0 }
        !skip { print }
        $0 ~ "^<!-- " name { skip = 1; while ((getline line < list) > 0) print line }
    ' "$2" >"$scratch/page"
    result "$2" <"$scratch/page"
}

: >"$scratch/rules"
: >"$scratch/faults"
chapters="command-line.md life.md logs.md attach-and-control.md cgroups-and-oom.md callers.md"
for name in $chapters; do
    chapter "$name" >"$scratch/chapter"
    result "$specification/$name" <"$scratch/chapter"
done
while read -r fault; do complain "$specification/$fault"; done <"$scratch/faults"
while read -r rule; do complain "the rule $rule is there twice"; done < <(awk '{ print $1 }' "$scratch/rules" | sort | uniq -d)
while read -r rule scenario; do
    grep -q "^$rule " "$scratch/rules" || complain "fixtures/scenarios/$scenario.toml: there is no rule $rule"
done <"$scratch/shown"

# The overview's tables.
overview() {
    echo "| Chapter | Rules | Shown by scenarios | Not shown by any |"
    echo "|---|---|---|---|"
    for name in $chapters; do
        title=$(sed -n '1s/^# //p' "$specification/$name")
        awk -v name="$name" -v title="$title" '$2 == name { all++; if ($3) shown++ }
            END { print "| [" title "](" name ") | " all " | " shown " | " all - shown " |" }' "$scratch/rules"
    done
    awk -v scenarios="$(wc -l <"$scratch/all")" '{ all++; if ($3) shown++ }
        END { print "| all, by " scenarios " scenarios | " all " | " shown " | " all - shown " |" }' "$scratch/rules"
    echo
    echo "Rules without a scenario; each says there why, and what shows it instead:"
    awk '!$3 { printf "%s[%s](%s#%s)", (n++ ? ", " : ""), $1, $2, tolower($1) } END { print n ? "." : "none." }' "$scratch/rules"
}
overview >"$scratch/list"
put overview "$specification/README.md"

# By release.
releases() {
    echo "| Release | Rule | Before it |"
    echo "|---|---|---|"
    for name in $chapters; do
        awk -v name="$name" '
            /^### <a id="/ {
                anchor = $0; sub(/^### <a id="/, "", anchor); sub(/".*/, "", anchor)
                title = $0; sub(/^[^>]*><\/a>/, "", title)
            }
            /^\*Holds: / {
                while (match($0, /\[(since|after) [0-9.]+\]\(\.\.\/reference-notes\.md#[a-z0-9-]+\)/)) {
                    link = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)
                    release = link; sub(/^\[since /, "", release); sub(/^\[/, "", release); sub(/\].*/, "", release)
                    row = link; sub(/^[^(]*\(/, "", row); sub(/\)$/, "", row)
                    order = release; if (sub(/^after /, "", order)) order = order ".9"
                    split(order, n, ".")
                    printf "%03d%03d%03d\t| %s | [%s](%s#%s) | [%s](%s) |\n", n[1], n[2], n[3] * 10 + n[4], release, title, name, anchor, substr(row, index(row, "#") + 1), row
                }
            }' "$specification/$name"
    done | sort -s -k1,1 | cut -f 2
}
releases >"$scratch/list"
put table "$specification/releases.md"

for page in differences reference-notes; do
    while read -r row; do
        grep -qF "$page.md#$row)" "$specification"/*.md || complain "docs/$page.md: no rule mentions the row $row"
    done < <(grep -o '<a id="[^"]*"' "docs/$page.md" | cut -d '"' -f 2)
done
exit $failed
