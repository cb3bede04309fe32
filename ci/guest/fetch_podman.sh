#!/bin/bash
# fetch_podman.sh ROOT: puts the Podman of Debian's experimental, and what it needs from there, below ROOT/opt/podman-next, which
# newer_podman.sh lays over the guest's own. Called by image.sh for a root of sid, whose apt does it with directories of its own.
# Where that cannot be, ROOT/opt/podman-next is a file that says why.
set -euo pipefail
root=${1:?the root of the guest}
if [ ! -x "$root/usr/bin/apt-get" ] || [ "$(realpath "$root")" = / ]; then
    echo "fetch_podman.sh: $root is no root of a guest" >&2
    exit 1
fi
next=$root/opt/podman-next apt=$root/opt/apt log=$CACHE/podman-next.log

without() {
    echo "no newer Podman: $*" >&2
    rm -rf "${apt:?}" "${next:?}"
    echo "$*" >"$next"
    exit 0
}
# Whatever the mirror does, the image is made.
guest() { chroot "$root" env APT_CONFIG=/opt/apt/conf timeout -k 5 120 "$@" </dev/null 2>>"$log"; }

: >"$log"
[ "$SUITE" = sid ] || without "it is made for sid, not for $SUITE"
rm -rf "${apt:?}" "${next:?}"
mkdir -p "$apt"/{lists/partial,archives/partial} "$next"
: >"$apt/status"
cat >"$apt/conf" <<'CONF'
Dir::State::lists "/opt/apt/lists";
Dir::State::status "/opt/apt/status";
Dir::Cache "/opt/apt";
Dir::Etc::sourcelist "/opt/apt/sources";
Dir::Etc::sourceparts "-";
Dir::Etc::trusted "/usr/share/keyrings/debian-archive-keyring.gpg";
APT::Sandbox::User "root";
Acquire::Languages "none";
// Mirrors that keep a day stay of use; debootstrap asks for no more.
Acquire::Check-Valid-Until "false";
CONF
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${MIRROR:-http://deb.debian.org/debian} experimental main" >"$apt/sources"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
guest apt-get -q --error-on=any update >>"$log" || without "the mirror has no experimental: $(sed -n '$s/^E: //p' "$log")"
for package in podman netavark golang-github-containers-common; do
    guest sh -c 'cd /opt/apt/archives && exec apt-get -q download "$1"' sh "$package" >>"$log" || without "experimental has no $package"
done
new=$(guest sh -c 'dpkg-deb -f /opt/apt/archives/podman_*.deb Version') || without "experimental's podman cannot be read"
old=$(guest dpkg-query -W -f '${Version}' podman) || without "the root has no podman"
guest dpkg --compare-versions "$new" gt "$old" || without "sid's podman $old is not older than experimental's $new"
guest sh -c 'for deb in /opt/apt/archives/*.deb; do dpkg-deb -x "$deb" /opt/podman-next || exit 1; done' || without "a package cannot be unpacked"
rm -rf "${apt:?}" "${next:?}"/usr/share/{doc,man,bash-completion,fish,zsh}
echo "podman $new beside $old" >&2
