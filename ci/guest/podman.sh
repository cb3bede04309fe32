#!/bin/bash
# Runs in the guest, or on a host that needs none: Podman's table with the system's monitor and with ours. Arguments go to
# `conmon-compat run`. REPORT is the name of the reports.
set -euo pipefail
programs=$(mktemp -d /var/tmp/conmon-programs.XXXXXX)
trap 'rm -rf "$programs"' EXIT
cp "${CONMON_BINARIES:-$WORKSPACE/target/debug}"/{conmon,conmon-compat} "$programs/"
export CONMON_COMPAT_FIXTURES=$WORKSPACE/fixtures CONMON_CANDIDATE=${CONMON_CANDIDATE:-$programs/conmon}
report=$XOUT/${REPORT:-podman}
"$programs/conmon-compat" run --table podman --junit "$report.xml" --html "$report.html" "$@"
