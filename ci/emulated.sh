#!/bin/bash
# Runs containers below a monitor that was built for another architecture: an emulator runs the monitor, this machine's own
# runtime the container. One container has pipes and an exit command, the other a terminal.
#
#   ci/emulated.sh COMMAND...   for instance: ci/emulated.sh qemu-s390x dist/conmon.s390x (static: ci/cross.sh build)
#
# RUNTIME: crun (default) or another. Needs root, jq and a static busybox. Status 3: this machine lacks one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
[ $# -gt 0 ] || die "which command is the monitor?"
monitor=("$@")
lacks() {
    say "emulated: $* is missing"
    exit 3
}
need_root
runtime=$(command -v "${RUNTIME:-crun}") || lacks "${RUNTIME:-crun}"
have jq || lacks jq
have "${monitor[0]}" || lacks "${monitor[0]}"
busybox=$(static_busybox) || lacks "a static busybox"

work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-emulated.XXXXXX")
names=()
clean_up() {
    local name
    for name in "${names[@]}"; do "$runtime" delete --force "$name" >/dev/null 2>&1 || true; done
    for name in "$work"/*/conmon.pid; do [ ! -e "$name" ] || kill -KILL "$(cat "$name")" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# fail NAME TEXT: with what is there to explain it.
fail() {
    say "emulated: ${monitor[*]}: $1: $2"
    head -n 20 "$work/$1"/{stderr,log,runtime.log} >&2 2>/dev/null || true
    exit 1
}
# await NAME FILE: a minute, because an emulator on a busy machine is slow.
await() {
    local tries=0
    until [ -s "$work/$1/$2" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "$1" "no file $2"
        sleep 0.1
    done
}
# container NAME TERMINAL SCRIPT OPTIONS...: creates it, starts it, waits for its exit file.
container() {
    local name=conmon-emulated-$$-$1 dir=$work/$1 terminal=$2 script=$3 report
    shift 3
    mkdir -p "$dir/rootfs/bin" "$dir/rootfs/proc" "$dir/rootfs/dev" "$dir/rootfs/sys" "$dir/exits"
    cp "$busybox" "$dir/rootfs/bin/busybox"
    ln -s busybox "$dir/rootfs/bin/sh"
    (cd "$dir" && "$runtime" spec)
    jq --arg script "$script" --argjson terminal "$terminal" '.process.terminal = $terminal | .process.rlimits = []
        | .process.args = ["/bin/sh", "-c", $script] | .linux.resources = {}' "$dir/config.json" >"$dir/new"
    mv "$dir/new" "$dir/config.json"
    names+=("$name")
    mkfifo "$dir/sync"
    exec {sync_pipe}<>"$dir/sync"
    _OCI_SYNCPIPE=$sync_pipe timeout 60 "${monitor[@]}" --cid "$name" --cuuid "$name" --name "$name" --runtime "$runtime" \
        --bundle "$dir" --log-path "k8s-file:$dir/log" --exit-dir "$dir/exits" --container-pidfile "$dir/pid" \
        --conmon-pidfile "$dir/conmon.pid" --socket-dir-path "$dir" --log-level debug "$@" </dev/null >"$dir/stdout" 2>"$dir/stderr" ||
        fail "${dir##*/}" "the monitor's status is $?"
    read -r -t 60 report <&"$sync_pipe" || fail "${dir##*/}" "no report"
    exec {sync_pipe}>&-
    await "${dir##*/}" pid
    [ "$(jq -r .pid <<<"$report")" = "$(cat "$dir/pid")" ] || fail "${dir##*/}" "the report is $report, the file $(cat "$dir/pid")"
    await "${dir##*/}" conmon.pid
    # The container's parent is the monitor, its subreaper.
    [ "$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$(cat "$dir/pid")/stat")" = "$(cat "$dir/conmon.pid")" ] ||
        fail "${dir##*/}" "the container is not the monitor's child"
    "$runtime" start "$name"
    await "${dir##*/}" "exits/$name"
    [ "$(cat "$dir/exits/$name")" = 3 ] || fail "${dir##*/}" "the exit file says $(cat "$dir/exits/$name")"
    local tries=0
    while kill -0 "$(cat "$dir/conmon.pid")" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "${dir##*/}" "the monitor does not end"
        sleep 0.1
    done
    "$runtime" delete --force "$name" >/dev/null 2>&1 || true
}
time='^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}[+-][0-9:]{5}'
# logs NAME STREAM TAG TEXT
logs() { grep -qE "$time $2 $3 $4\$" "$work/$1/log" || fail "$1" "the log has no \"$2 $3 $4\""; }

container pipes false 'echo out; echo err >&2; printf rest; exit 3' --exit-command /bin/sh --exit-command-arg -c \
    --exit-command-arg "echo done >$work/exit-command"
logs pipes stdout F out
logs pipes stderr F err
logs pipes stdout P rest
[ "$(cat "$work/exit-command" 2>/dev/null)" = "done" ] || fail pipes "the exit command did not run"
container terminal true 'test -t 1 && echo terminal; exit 3' --terminal
logs terminal stdout F $'terminal\r?'
echo "emulated: ${monitor[*]}: two containers ran; report, parent, log, exit file and exit command are right"
