#!/bin/bash
# with.sh BINARIES SCRIPT [ARG...]: runs a script of this directory with the programs of that one. In a guest, SCRIPT is looked
# for in the shared workspace.
export CONMON_BINARIES=$1
script=$WORKSPACE/ci/guest/$2
shift 2
exec "$script" "$@"
