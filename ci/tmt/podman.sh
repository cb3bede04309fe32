#!/bin/bash
# Podman's system tests, as its package installs them, with the installed monitor: by whoever runs this, root in the plan.
# PODMAN_TESTS: where they lie; PODMAN_TEST_FILES: those to run, if not all. CONMON_VERSION: a pattern of the monitor's version.
set -euo pipefail
podman info --format '{{.Host.Conmon.Version}}' | grep -q "${CONMON_VERSION:-+rust}" || { echo "podman does not use the monitor under test" >&2 && exit 1; }
export PODMAN=${PODMAN:-/usr/bin/podman}
cd "${PODMAN_TESTS:-/usr/share/podman/test/system}"
# shellcheck disable=SC2086
bats --timing ${PODMAN_TEST_FILES:-.}
