#!/bin/bash
# Makes what a release consists of.
#
#   ci/dist.sh source DIR         conmon-VERSION.tar.gz of the commit that is checked out
#   ci/dist.sh vendor DIR         conmon-VERSION-vendor.tar.xz: the crates, below vendor/
#   ci/dist.sh sbom DIR           conmon-VERSION.cdx.json: what the binary is made of (CycloneDX 1.5)
#   ci/dist.sh all DIR [ARCH...]  these, the static binaries conmon.ARCH, and SHA256SUMS
#
# The same commit gives the same bytes, whatever the directory and the day. A binary that this machine has no compiler for is
# left out, and the status is then 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
what=${1:?source, vendor, sbom or all} dir=${2:?a directory}
shift 2
version=$(ci/version.sh)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-dist.XXXXXX")
trap 'rm -rf "$work"' EXIT
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

source_tarball() {
    git archive --format=tar --prefix="conmon-$version/" HEAD | gzip -n -9 >"$dir/conmon-$version.tar.gz"
}

vendor_tarball() {
    # Of the commit, not of what is being edited.
    mkdir "$work/tree"
    git archive HEAD | tar -x -C "$work/tree"
    (cd "$work/tree" && cargo vendor --locked --versioned-dirs "$work/vendor" >/dev/null 2>"$work/log") ||
        { cat "$work/log" >&2 && die "cargo vendor failed"; }
    # Cargo wants every crate of the lock file to be there, but those for Windows only by name.
    local crate
    for crate in "$work"/vendor/windows*; do
        find "$crate" -mindepth 1 -maxdepth 1 -not -name Cargo.toml -not -name .cargo-checksum.json -exec rm -rf {} +
        mkdir "$crate/src"
        : >"$crate/src/lib.rs"
        sed -i 's/"files":{[^}]*}/"files":{}/' "$crate/.cargo-checksum.json"
    done
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX -C "$work" -c vendor |
        xz -T1 -6 >"$dir/conmon-$version-vendor.tar.xz"
}

sbom() {
    need jq jq jq
    cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" >"$work/metadata"
    # The metadata has the features of the whole workspace; the tree has those of the monitor alone.
    cargo tree --locked -p conmon -e normal --prefix none -f '{p}' | sed 's/ (.*//; s/ v/ /' | sort -u >"$work/linked"
    awk -F'"' '/^name = /{n=$2} /^version = /{v=$2} /^checksum = /{print n "\t" v "\t" $2}' Cargo.lock >"$work/checksums"
    jq --arg commit "$commit" --arg date "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" --rawfile sums "$work/checksums" \
        --rawfile linked "$work/linked" '
        ($sums | rtrimstr("\n") | split("\n") | map(split("\t") | {key: (.[0] + " " + .[1]), value: .[2]}) | from_entries) as $sums
        | ($linked | rtrimstr("\n") | split("\n")) as $linked
        | [.packages[] | select("\(.name) \(.version)" | IN($linked[]))] as $used
        | ($used | map({key: .id, value: .}) | from_entries) as $packages
        | ($used | map(.id)) as $all
        | (.resolve.nodes | map({key: .id, value: [.deps[].pkg | select(IN($all[]))]}) | from_entries) as $edges
        | ($used[] | select(.name == "conmon") | .id) as $root
        | def purl($p): "pkg:cargo/\($p.name)@\($p.version)";
        def component($p): {
            type: "library", "bom-ref": purl($p), name: $p.name, version: $p.version, purl: purl($p),
            licenses: [{expression: ($p.license // "NOASSERTION" | gsub("/"; " OR "))}]
        } + (if $sums["\($p.name) \($p.version)"] then
            {hashes: [{alg: "SHA-256", content: $sums["\($p.name) \($p.version)"]}]} else {} end);
        {
            bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
            metadata: {
                timestamp: $date,
                component: (component($packages[$root]) + {type: "application", properties: [{name: "git:commit", value: $commit}]})
            },
            components: [$all[] | select(. != $root) | component($packages[.])] | sort_by(.purl),
            dependencies: [$all[] | {ref: purl($packages[.]), dependsOn: [$edges[.][] | purl($packages[.])] | sort}] | sort_by(.ref)
        }' "$work/metadata" >"$dir/conmon-$version.cdx.json"
}

status=0
case $what in
source) source_tarball ;;
vendor) vendor_tarball ;;
sbom) sbom ;;
all)
    source_tarball
    vendor_tarball
    sbom
    [ $# -gt 0 ] || set -- amd64 arm64 arm 386 ppc64le riscv64 s390x
    missing=()
    for arch in "$@"; do
        one=0
        ci/cross.sh build "$arch" "$dir/conmon.$arch" || one=$?
        case $one in
        0) ;;
        3) missing+=("$arch") ;;
        *) exit "$one" ;;
        esac
    done
    (cd "$dir" && sha256sum -- conmon-"$version"* conmon.* | sort -k 2 >SHA256SUMS && cat SHA256SUMS)
    if [ ${#missing[@]} -gt 0 ]; then
        say "not built on this machine: ${missing[*]}"
        status=3
    fi
    ;;
*) die "source, vendor, sbom or all, not $what" ;;
esac
exit $status
