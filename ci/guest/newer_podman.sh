#!/bin/bash
# Runs in the guest: Podman's table as podman.sh does, after the Podman that fetch_podman.sh has brought took the system's place.
# Where there is none, that is said and counts as a skip. Arguments go to `conmon-compat run`.
set -euo pipefail
next=/opt/podman-next
without() {
    echo "skipped podman/newer: $*"
    exit 0
}
[ -e "$next" ] || without "this system has no other podman than its own"
[ -d "$next" ] || without "$(cat "$next")"
# Files are replaced, not written through the links that the older ones are.
cp -a --remove-destination "$next/." /
systemctl daemon-reload
podman info --format '{{.Version.Version}}' >/tmp/podman-version 2>&1 || without "it does not run here: $(tail -n 1 /tmp/podman-version)"
echo "podman $(tail -n 1 /tmp/podman-version)"
export REPORT=newer-podman
exec "$WORKSPACE/ci/guest/podman.sh" "$@"
