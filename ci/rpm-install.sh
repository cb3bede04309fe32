#!/bin/bash
# Lets dnf put our RPM in the place of the distribution's conmon, and take it away again, in a root of its own.
#
#   ci/rpm-install.sh RPM     conmon: upgrade, downgrade, removal; conmon-rust: beside the distribution's, and away again
#
# Where no Fedora mirror can be reached, packages that hold nothing stand in for Fedora's: conmon 2:2.1.13, a podman that
# requires conmon >= 2:2.1.7-2, a runtime, a C library. The monitor that dnf installed then runs a container below this
# machine's Podman (CONMON_NO_PODMAN=yes leaves that out). Needs root, dnf, rpmbuild, createrepo_c.
set -euo pipefail
rpm=$(realpath "${1:?an RPM of ours}")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/conmon-dnf.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

standin() { # NAME EPOCH VERSION LINES...
    local name=$1 epoch=$2 version=$3
    shift 3
    {
        printf 'Name: %s\nEpoch: %s\nVersion: %s\nRelease: 2\nSummary: Stand-in\nLicense: None\n' "$name" "$epoch" "$version"
        printf '%s\n' "$@"
        printf '%%description\nStand-in.\n'
        [ "$name" != conmon ] || printf '%%install\nmkdir -p %%{buildroot}/usr/bin\nprintf "#!/bin/sh\\necho conmon version %s\\n" >%%{buildroot}/usr/bin/conmon\nchmod 755 %%{buildroot}/usr/bin/conmon\n' "$version"
        printf '%%files\n'
        [ "$name" != conmon ] || echo /usr/bin/conmon
    } >"$work/$name.spec"
    rpmbuild --quiet --define "_topdir $work/build" --define '_build_id_links none' --define '__brp_mangle_shebangs %{nil}' \
        --define '__requires_exclude .*' -bb "$work/$name.spec" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
}
mkdir -p "$work/fedora" "$work/ours" "$work/root"
libraries=$(rpm -qp --requires "$rpm" | grep -v '^rpmlib' | sed 's/^/Provides: /')
standin libc 0 1 "$libraries"
standin crun 0 1.21
standin podman 5 5.6.0 'Requires: conmon >= 2:2.1.7-2'
standin conmon 2 2.1.13
find "$work/build/RPMS" -name '*.rpm' -exec cp {} "$work/fedora/" \;
cp "$rpm" "$work/ours/"
for repository in fedora ours; do createrepo_c --quiet "$work/$repository"; done

dnf() {
    command dnf -y --quiet --installroot "$work/root" --releasever 43 --setopt reposdir=/dev/null --setopt gpgcheck=0 \
        --setopt cachedir="$work/cache" --nogpgcheck --repofrompath "fedora,file://$work/fedora" "$@"
}
installed() { command rpm --root "$work/root" -q --qf '%{EPOCH}:%{VERSION}\n' conmon; }
is() { [ "$(installed)" = "$1" ] || { echo "rpm-install.sh: $2: conmon is $(installed), not $1" >&2 && exit 1; }; }
ours=$(command rpm -qp --qf '%{EPOCH}:%{VERSION}' "$rpm")

# A container below this machine's Podman, which is told where the monitor is.
works() {
    [ -z "${CONMON_NO_PODMAN:-}" ] || return 0
    mkdir -p "$work/config"
    printf '[engine]\nconmon_path = ["%s"]\n[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]\n' \
        "$1" >"$work/config/containers.conf"
    CONTAINERS_CONF=$work/config/containers.conf CONMON_PATH=$1 "$top/debian/tests/podman"
}

dnf install podman
is 2:2.1.13 "the distribution's"
if [ "$(command rpm -qp --qf '%{NAME}' "$rpm")" = conmon-rust ]; then
    dnf --repofrompath "ours,file://$work/ours" install conmon-rust
    is 2:2.1.13 "the distribution's beside conmon-rust"
    command rpm --root "$work/root" -V conmon conmon-rust
    works "$work/root/usr/bin/conmon-rust"
    dnf remove conmon-rust
    is 2:2.1.13 "the distribution's alone again"
    command rpm --root "$work/root" -V conmon
    [ ! -e "$work/root/usr/bin/conmon-rust" ] && [ ! -e "$work/root/usr/share/man/man8/conmon-rust.8.gz" ]
    echo "installed beside conmon 2:2.1.13, removed: ${rpm##*/}"
    exit 0
fi
dnf --repofrompath "ours,file://$work/ours" upgrade
is "$ours" "an ordinary upgrade"
command rpm --root "$work/root" -V conmon
"$work/root/usr/bin/conmon" --version | grep -q '+rust'
works "$work/root/usr/bin/conmon"
dnf downgrade conmon
is 2:2.1.13 "a downgrade"
dnf --repofrompath "ours,file://$work/ours" upgrade
is "$ours" "the upgrade again"
dnf remove conmon podman
[ ! -e "$work/root/usr/bin/conmon" ] && [ ! -e "$work/root/usr/share/man/man8/conmon.8.gz" ]
# A podman that is installed with both repositories at hand takes ours at once.
dnf --repofrompath "ours,file://$work/ours" install podman
is "$ours" "a new installation"
echo "installed, upgraded over 2:2.1.13, downgraded, removed: $ours"
