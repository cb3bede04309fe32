#!/bin/bash
# A throw-away system with systemd, cgroup v2, journald and Podman, for tests that the host cannot run.
#
#   guest.sh build [--force] [--image-only]
#                              make the image and start it once; does nothing if that is done. With --image-only nothing is
#                              started: that is for the background of a busy machine
#   guest.sh run [-m MEM] [-t SECONDS] [-o CONSOLE-LOG] [--share DIR:NAME]... [--out DIR] -- SCRIPT [ARG...]
#   guest.sh direct            says whether this host itself is such a system; then `run` uses it instead of a guest
#
# `run` runs SCRIPT as root, prints what it prints as it comes, and returns its status (124: out of time, 125: the guest
# died). SCRIPT finds this workspace at $WORKSPACE, each shared DIR at /shared/NAME (both read-only in a guest), and can leave
# files in $XOUT, which are brought to the directory given by --out even if it did not end well.
#
# The guest is User-Mode-Linux with a Debian root: it needs root and a package mirror, but no KVM and no network of its own.
# Everything happens in private mount and pid namespaces: an interrupted run leaves nothing behind. `build` fails if this machine
# cannot have a guest; it says why.
# Environment: CONMON_GUEST_DIR  where the image is kept (default: conmon-guest in $XDG_CACHE_HOME or /var/tmp)
#              CONMON_GUEST      "always": use a guest even where the host would do
#              CONMON_GUEST_SUITE, MIRROR  the Debian suite (sid) and its mirror (debootstrap's own default)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
CACHE=${CONMON_GUEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/conmon-guest}
SUITE=${CONMON_GUEST_SUITE:-sid}

# True if this host is what the guest would be.
is_real_system() {
    [ "$(cat /proc/1/comm)" = systemd ] && [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] &&
        grep -qw memory /sys/fs/cgroup/cgroup.controllers && [ -S /run/systemd/journal/socket ] && have podman
}

# What the image depends on: its recipe and the suite.
recipe_stamp() { cat "$here/image.sh" "$here/fetch_podman.sh" - <<<"$SUITE" | sha1sum | cut -c 1-12; }

# Replaces the (sub)shell: what runs in here has mounts and pids of its own and ends with the caller, however that ends.
isolated() {
    exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@"
}

# What a guest takes from the machine.
need_machine() {
    need_root
    [ "$(uname -m)" = x86_64 ] || die "there is no User-Mode-Linux for $(uname -m)"
    mkdir -p "$CACHE" "$CACHE/runs"
    local free
    free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    [ "$free" -ge 2048 ] || die "too little memory for a guest: $free MiB of 2048"
    free=$(df --output=avail -m "$CACHE" | tail -n 1)
    [ "$free" -ge 4096 ] || die "too little room for a guest in $CACHE: $free MiB of 4096"
}

build() {
    local image_only='' start=$SECONDS lock attempt
    while [ $# -gt 0 ]; do
        case $1 in
        --force) rm -f "$CACHE/stamp" ;;
        --image-only) image_only=yes ;;
        *) die "unknown option $1" ;;
        esac
        shift
    done
    need_machine
    exec {lock}>"$CACHE/build.lock"
    flock "$lock"
    if [ "$(cat "$CACHE/stamp" 2>/dev/null)" = "$(recipe_stamp)" ]; then
        say "the guest's image is up to date: $CACHE/base.ext4"
    else
        need debootstrap debootstrap debootstrap
        need mke2fs e2fsprogs e2fsprogs
        need setpriv util-linux util-linux
        [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring debian-keyring
        rm -f "$CACHE"/base.* "$CACHE/stamp" "$CACHE/started"
        export CACHE SUITE
        (isolated "$here/image.sh") || die "the image could not be made"
        recipe_stamp >"$CACHE/stamp"
        say "image made in $((SECONDS - start)) s"
    fi
    if [ -z "$image_only" ] && [ ! -e "$CACHE/started" ]; then
        for attempt in 1 2; do
            if CONMON_GUEST=always "$0" run -t 120 -o "$CACHE/first.log" -- "$here/versions.sh"; then
                touch "$CACHE/started"
                say "guest built in $((SECONDS - start)) s"
                break
            fi
            say "the guest did not start (attempt $attempt)"
        done
        [ -e "$CACHE/started" ] || die "the guest does not start, see $CACHE/first.log"
    fi
    exec {lock}>&-
}

# run_direct SCRIPT [ARG...]: the same on a host that needs no guest.
run_direct() {
    local status=0 out=${out_dir:-} share
    [ -n "$out" ] || out=$(mktemp -d "${TMPDIR:-/tmp}/conmon-out.XXXXXX")
    mkdir -p "$out"
    for share in ${shares[@]+"${shares[@]}"}; do
        mkdir -p /shared && ln -sfn "${share%:*}" "/shared/${share##*:}"
    done
    WORKSPACE=$TOP XOUT=$out timeout "$limit" "$@" || status=$?
    for share in ${shares[@]+"${shares[@]}"}; do rm -f "/shared/${share##*:}"; done
    [ ${#shares[@]} -eq 0 ] || rmdir /shared 2>/dev/null || true
    [ -n "${out_dir:-}" ] || rm -rf "$out"
    return "$status"
}

# Removes what runs that were killed have left: nobody holds their lock any more.
sweep() {
    local old lock
    for old in "$CACHE"/runs/*/; do
        [ -e "$old/lock" ] || continue
        exec {lock}>"$old/lock"
        if flock -n "$lock"; then rm -rf "$old"; fi
        exec {lock}>&-
    done
}

# Sets $cpu to a CPU that no other guest uses, if there is one; it is ours as long as we run. A guest whose threads float between
# two CPUs is about four times slower than one that has a CPU to itself.
pick_cpu() {
    local number count
    cpu=
    count=$(nproc)
    for ((number = 0; number < count; number++)); do
        exec {cpu_lock}>"$CACHE/cpu.$number"
        if flock -n "$cpu_lock"; then
            cpu=$(taskset -p -c $$ | sed 's/.*: //' | tr ',' '\n' |
                awk -F- -v want="$number" '{ for (c = $1; c <= ($2 == "" ? $1 : $2); c++) if (n++ == want) print c }')
            return
        fi
        exec {cpu_lock}>&-
    done
}

end_run() {
    local status=$?
    trap '' INT TERM HUP
    [ -z "${guest:-}" ] || kill -9 "$guest" 2>/dev/null || true
    [ -z "${console:-}" ] || cat "$run_dir/uml.log" "$run_dir/kernel.log" >"$console" 2>/dev/null || true
    rm -rf "$run_dir"
    exit "$status"
}

run_guest() {
    local share deadline status=125 cpu
    need_root
    [ -f "$CACHE/stamp" ] && [ "$(cat "$CACHE/stamp")" = "$(recipe_stamp)" ] || build
    sweep
    mkdir -p "$CACHE/runs"
    run_dir=$(mktemp -d "$CACHE/runs/XXXXXX")
    trap end_run EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    exec {run_lock}>"$run_dir/lock"
    flock "$run_lock"
    mkdir -p "$run_dir"/xchg/out
    cp "$here/init.sh" "$run_dir/xchg/init"
    cp "$1" "$run_dir/xchg/script"
    chmod 755 "$run_dir/xchg/init" "$run_dir/xchg/script"
    shift
    : >"$run_dir/xchg/args"
    [ $# -eq 0 ] || printf '%s\0' "$@" >"$run_dir/xchg/args"
    : >"$run_dir/shares"
    for share in "$TOP:workspace" ${shares[@]+"${shares[@]}"}; do printf '%s\n' "$share" >>"$run_dir/shares"; done
    cut -d: -f2- "$run_dir/shares" >"$run_dir/xchg/shares"
    pick_cpu
    deadline=$((SECONDS + limit))
    export CACHE
    isolated ${cpu:+taskset -c "$cpu"} "$here/boot.sh" "$memory" "$run_dir" &
    guest=$!
    while kill -0 "$guest" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then
            say "guest.sh: out of time after $limit s"
            status=124
            kill -9 "$guest" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$guest" 2>/dev/null || true
    guest=
    [ ! -f "$run_dir/xchg/status" ] || [ $status = 124 ] || status=$(cat "$run_dir/xchg/status")
    if [ "$status" = 125 ] && [ ! -f "$run_dir/xchg/status" ]; then
        say "guest.sh: the guest died; its last words:"
        tail -n 20 "$run_dir/uml.log" "$run_dir/kernel.log" >&2 || true
    fi
    if [ -n "$out_dir" ]; then
        mkdir -p "$out_dir"
        cp -a "$run_dir/xchg/out/." "$out_dir/"
    fi
    return "$status"
}

run() {
    memory=${CONMON_GUEST_MEMORY:-3G} limit=600 out_dir='' console='' shares=()
    while [ $# -gt 0 ]; do
        case $1 in
        -m) memory=$2 && shift 2 ;;
        -t) limit=$2 && shift 2 ;;
        -o) console=$2 && shift 2 ;;
        --share) shares+=("$(realpath "${2%:*}"):${2##*:}") && shift 2 ;;
        --out) out_dir=$2 && shift 2 ;;
        --) shift && break ;;
        -*) die "unknown option $1" ;;
        *) break ;;
        esac
    done
    [ $# -ge 1 ] || die "no script given"
    if [ "${CONMON_GUEST:-}" != always ] && is_real_system; then
        say "guest.sh: this host has systemd, cgroup v2, journald and podman: running here"
        run_direct "$@"
    else
        run_guest "$@"
    fi
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
build) build "$@" ;;
run) run "$@" ;;
direct) is_real_system && echo yes || { echo no && exit 1; } ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
