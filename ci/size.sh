#!/bin/bash
# Measures the size of the release binary and the memory of an idle monitor, and fails past the budget of ci/budget.
#
#   ci/size.sh [MONITOR]   another binary than the workspace's release build; the budget still applies
#
# A small script is the runtime, so neither root nor cgroups are needed. The distribution's monitor is measured beside ours
# where it is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

monitor=${1:-$TARGET/release/conmon}
if [ $# -eq 0 ]; then
    need_cargo
    cargo build --quiet --release -p conmon
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-size.XXXXXX")
clean_up() {
    local file
    for file in "$work"/*/pid; do [ ! -e "$file" ] || kill "$(cat "$file")" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# The container outlives the runtime and falls to the monitor, its subreaper.
cat >"$work/runtime" <<'X'
#!/bin/sh
while [ $# -gt 0 ]; do
    [ "$1" != --pid-file ] || pid_file=$2
    shift
done
sleep 1000 &
printf %s $! >"$pid_file"
X
chmod 755 "$work/runtime"

# private_dirty NAME BINARY: median of five idle monitors, in KiB; the name tells the directories of two binaries apart.
private_dirty() {
    local name=$1 binary=$2 number dir report
    # Pages of a file that was just written count as dirty until they are on the disk.
    sync
    for number in 1 2 3 4 5; do
        dir=$work/$name-$number
        mkdir -p "$dir"
        mkfifo "$dir/sync"
        exec {sync_pipe}<>"$dir/sync"
        _OCI_SYNCPIPE=$sync_pipe "$binary" --cid idle-container-0000 --cuuid "$number" --runtime "$work/runtime" --bundle "$dir" \
            --full-attach --log-path "k8s-file:$dir/log" --conmon-pidfile "$dir/conmon.pid" \
            --container-pidfile "$dir/pid" </dev/null || die "$binary did not start"
        read -r -t 20 report <&"$sync_pipe" || die "$binary did not report"
        case $report in *-1*) die "$binary reported $report" ;; esac
        exec {sync_pipe}>&-
    done
    sleep 1
    for dir in "$work/$name"-*; do
        sed -n 's/^Private_Dirty: *\([0-9]*\) kB/\1/p' "/proc/$(cat "$dir/conmon.pid")/smaps_rollup"
    done | sort -n | sed -n 3p
}

cp "$monitor" "$work/stripped"
strip "$work/stripped" 2>/dev/null || true
size=$(stat -c %s "$work/stripped")
dirty=$(private_dirty ours "$monitor")
printf '%-24s %12s %20s\n' '' 'bytes' 'private dirty KiB'
printf '%-24s %12s %20s\n' "$("$monitor" --version | sed -n '1s/conmon version //p')" "$size" "$dirty"
reference=$(command -v conmon || true)
if [ -n "$reference" ] && [ "$reference" != "$monitor" ]; then
    printf '%-24s %12s %20s\n' "$("$reference" --version | sed -n '1s/conmon version //p')" "$(stat -c %s "$reference")" \
        "$(private_dirty reference "$reference")"
fi

failed=0
while read -r name limit; do
    case $name in
    size_bytes) actual=$size ;;
    private_dirty_kib) actual=$dirty ;;
    *) continue ;;
    esac
    if [ "$actual" -gt "$limit" ]; then
        echo "$name: $actual is over the budget of $limit" >&2
        failed=1
    fi
done <ci/budget
exit $failed
