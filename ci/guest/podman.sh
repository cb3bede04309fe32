#!/bin/bash
# Runs in the guest, or on a host that needs none: Podman's table with the system's monitor and with ours. Arguments go to podman-compat.
set -euo pipefail
programs=$(mktemp -d /var/tmp/conmon-programs.XXXXXX)
trap 'rm -rf "$programs"' EXIT
cp "${CONMON_BINARIES:-$WORKSPACE/target/debug}"/{conmon,podman-compat} "$programs/"
export WORKSPACE CONMON_CANDIDATE=$programs/conmon
"$programs/podman-compat" --junit "$XOUT/podman.xml" --json "$XOUT/podman.json" "$@"
