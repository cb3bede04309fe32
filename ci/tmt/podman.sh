#!/bin/bash
# Podman's system tests, as its package installs them, with the installed monitor: as root and as a user.
set -euo pipefail
podman info --format '{{.Host.Conmon.Version}}' | grep -q '+rust' || { echo "podman does not use the monitor under test" >&2 && exit 1; }
export PODMAN=/usr/bin/podman
bats --timing /usr/share/podman/test/system
