#!/bin/bash
# Packit's actions: the sources of the commit it builds, and a spec file that names them instead of a release's.
#
#   ci/packit.sh archive    makes both tarballs beside the spec file; prints the path of the first
#   ci/packit.sh spec       edits rpm/conmon.spec
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
archive)
    ci/dist.sh source rpm >&2
    ci/dist.sh vendor rpm >&2
    ls rpm/conmon-*[0-9].tar.gz
    ;;
spec) sed -i -E 's,^(Source[01]: +).*/,\1,' rpm/conmon.spec ;;
*) echo "packit.sh: archive or spec" >&2 && exit 2 ;;
esac
