#!/bin/bash
# Puts our Debian packages in the place of the distribution's, in a root made by debootstrap, and looks at each step whether
# Podman runs a container with the monitor that is to be expected.
#
#   ci/debian-install.sh ROOT DEB...     the first is conmon's; others are installed and removed with it
#
# The steps: the distribution's conmon; upgrade to ours; downgrade; upgrade again; removal, after which nothing is left.
# Needs root and a Debian mirror. ROOT keeps what was installed but for conmon.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(cd "${1:?a root}" && pwd)
shift
[ $# -gt 0 ] || { echo "debian-install.sh: which packages?" >&2 && exit 1; }
rm -rf "$root/packages"
mkdir -p "$root/packages"
cp -- "$@" "$top/debian/tests/podman" "$root/packages/"
first=$(basename "$1")
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"

cat >"$root/packages/steps" <<'STEPS'
set -eu
cd /packages
step() { echo "--- $*"; }
apt() { apt-get -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >/packages/log 2>&1 </dev/null || { cat /packages/log; exit 1; }; }
# No init makes cgroups here, and no limit may be raised.
mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || mount -t tmpfs none /sys/fs/cgroup
mkdir -p /etc/containers
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]\n' >/etc/containers/containers.conf
export PODMAN_RUN='--runtime crun --cgroups disabled'
works() { CONMON_VERSION=$1 ./podman; }

step "the distribution's"
apt update
apt install podman conmon crun busybox-static
distributions=$(dpkg-query -W -f '${Version}' conmon)
works "[0-9.]*, "
step "upgrade from $distributions"
apt install --reinstall ./*.deb
ours=$(dpkg-query -W -f '${Version}' conmon)
dpkg --compare-versions "$ours" gt "$distributions"
works '.*+rust'
dpkg --verify conmon
step "downgrade from $ours"
apt install --allow-downgrades "conmon=$distributions"
works "[0-9.]*, "
step "upgrade again"
apt install ./*.deb
works '.*+rust'
step "removal"
dpkg --listfiles conmon | while read -r file; do [ -d "$file" ] || echo "$file"; done >/packages/files
for deb in ./*.deb; do dpkg-deb -f "$deb" Package; done >/packages/names
# shellcheck disable=SC2046
apt purge $(cat /packages/names)
left=$(while read -r file; do [ ! -e "$file" ] || echo "$file"; done </packages/files)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
! dpkg-query -W conmon 2>/dev/null | grep -q .
echo "installed, used, upgraded over $distributions, downgraded, removed: $ours"
STEPS

status=0
unshare --mount --pid --fork --propagation private bash -euc '
    root=$1
    mount --bind "$root" "$root"
    mount --rbind /dev "$root/dev"
    mount -t sysfs sys "$root/sys"
    mount -t proc proc "$root/proc"
    mkdir -p "$root/.old"
    cd "$root"
    pivot_root . .old
    umount -l /.old
    exec /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh /packages/steps
' debian-install "$root" || status=$?
rm -rf "$root/packages"
[ "$status" = 0 ] || echo "debian-install.sh: $first: a step failed in $root" >&2
exit "$status"
