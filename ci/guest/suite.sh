#!/bin/bash
# Runs in the guest, or on a host that needs none: the conformance suite, the system's monitor against ours, and what CRI-O's
# table has only for such a system. Arguments go to `conmon-compat run`.
set -euo pipefail
programs=$(mktemp -d /var/tmp/conmon-programs.XXXXXX)
trap 'rm -rf "$programs"' EXIT
binaries=${CONMON_BINARIES:-$WORKSPACE/target/debug}
# From a disk of the guest: programs start faster there than from the host's.
find "$binaries" -maxdepth 1 -type f -perm -u+x -exec cp -t "$programs" {} +
export CONMON_COMPAT_FIXTURES=$WORKSPACE/fixtures
monitors=(--reference "${CONMON_REFERENCE:-/usr/bin/conmon}" --candidate "${CONMON_CANDIDATE:-$programs/conmon}")
status=0
"$programs/conmon-compat" run --table scenarios "${monitors[@]}" --junit "$XOUT/suite.xml" --html "$XOUT/suite.html" "$@" || status=$?
"$programs/conmon-compat" run "${monitors[@]}" --junit "$XOUT/crio.xml" --html "$XOUT/crio.html" \
    --filter crio/systemd --filter crio/stop/records-the-lack-of-memory || status=$?
exit $status
