#!/bin/bash
# The installed suite: the distribution's monitor (see reference.sh) against the installed one.
set -euo pipefail
data=${TMT_TEST_DATA:-$(mktemp -d)}
conmon-compat doctor
conmon-compat run --reference "${CONMON_REFERENCE:-/opt/reference/conmon}" --candidate "${CONMON_CANDIDATE:-/usr/bin/conmon}" \
    --junit "$data/compat.xml" --html "$data/compat.html" "$@"
