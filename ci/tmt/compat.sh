#!/bin/bash
# The installed suite: the distribution's monitor (see reference.sh) against the installed one.
# COMPAT_OPTIONS: options of `conmon-compat run`, for instance a filter.
set -euo pipefail
data=${TMT_TEST_DATA:-$(mktemp -d)}
export CONMON_REFERENCE=${CONMON_REFERENCE:-/opt/reference/conmon} CONMON_CANDIDATE=${CONMON_CANDIDATE:-/usr/bin/conmon}
conmon-compat doctor
# shellcheck disable=SC2086
conmon-compat run --junit "$data/compat.xml" --html "$data/compat.html" ${COMPAT_OPTIONS:-}
