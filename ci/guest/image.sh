#!/bin/bash
# Makes the guest's disk image, called by guest.sh in private mount and pid namespaces: a Debian root, its kernel and the
# kernel's libraries, in $CACHE. The root is put together in memory, so nothing half-made stays on the disk.
set -euo pipefail

PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod,util-linux,procps,iproute2,ca-certificates
PACKAGES+=,podman,crun,runc,conmon,netavark,aardvark-dns,catatonit,uidmap,passt,fuse-overlayfs,busybox-static
PACKAGES+=,jq,socat,strace,curl,user-mode-linux

mkdir -p "$CACHE/tree" "$CACHE/debs"
mount -t tmpfs -o size=6G,mode=755 tmpfs "$CACHE/tree"
root=$CACHE/tree/root

# Packages that have come stay in debs: a second attempt goes on where the first ended.
fetch() {
    umount -R -l "$root/proc" "$root/sys" 2>/dev/null || true
    rm -rf --one-file-system "$root"
    mkdir "$root"
    # shellcheck disable=SC2086
    timeout -k 5 "$1" debootstrap --variant=minbase --include="$PACKAGES" --cache-dir="$CACHE/debs" "$SUITE" "$root" ${MIRROR:-} \
        </dev/null >"$CACHE/debootstrap.log" 2>&1
}
echo "debootstrap $SUITE (log: $CACHE/debootstrap.log)" >&2
if ! fetch 400; then
    tail -n 5 "$CACHE/debootstrap.log" >&2
    echo "once more" >&2
    sleep 5
    fetch 400 || { tail -n 20 "$CACHE/debootstrap.log" >&2 && exit 1; }
fi
umount "$root/proc" "$root/sys" 2>/dev/null || true

"$(dirname "${BASH_SOURCE[0]}")/fetch_podman.sh" "$root"

# The kernel and its libraries stay outside of the image, in a root of their own; see boot.sh.
host=$CACHE/host
rm -rf "$host"
mkdir -p "$host"/{usr/bin,lib64,lib/x86_64-linux-gnu,proc,sys,dev,tmp,run,root,img,xchg,shared,etc}
mv "$root/usr/bin/linux.uml" "$host/usr/bin/"
cp -L "$root/lib64/ld-linux-x86-64.so.2" "$host/lib64/"
# The last one is loaded when a thread is cancelled, at the guest's end.
cp -L "$root"/usr/lib/x86_64-linux-gnu/{libc.so.6,libgcc_s.so.1} "$host/lib/x86_64-linux-gnu/"
mkdir -p "$root/usr/lib/modules"
mv "$root"/usr/lib/uml/modules/* "$root/usr/lib/modules/"
for modules in "$root"/usr/lib/modules/*; do chroot "$root" depmod "${modules##*/}"; done

rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/tmp/* "$root"/usr/lib/uml \
    "$root"/usr/share/{doc,man,info}/* "$root"/usr/share/locale/[a-z]*

etc=$root/etc
echo guest >"$etc/hostname"
printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$etc/hosts"
echo 0123456789abcdef0123456789abcdef >"$etc/machine-id"
printf '/dev/ubda / ext4 noatime 0 0\n' >"$etc/fstab"
printf 'overlay\nfuse\ntun\nveth\nbridge\n' >"$etc/modules-load.d/guest.conf"

# Units that have nothing to do here, or that only make the boot longer.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-firstboot.service systemd-pstore.service systemd-hwdb-update.service systemd-machine-id-commit.service \
    systemd-random-seed.service systemd-udev-trigger.service systemd-update-done.service \
    systemd-journal-catalog-update.service ldconfig.service netavark-dhcp-proxy.service netavark-dhcp-proxy.socket \
    netavark-firewalld-reload.service podman-auto-update.timer podman-auto-update.service podman-restart.service \
    podman-clean-transient.service getty@.service getty@tty1.service serial-getty@.service getty-static.service \
    console-getty.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
    ln -sf /dev/null "$etc/systemd/system/$unit"
done
mkdir -p "$etc"/systemd/{journald.conf.d,system.conf.d} "$etc/containers/containers.conf.d" "$root"/{xchg,shared}
# Tests read every line back, so none may be dropped for coming too fast.
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nRateLimitBurst=0\nForwardToWall=no\n' \
    >"$etc/systemd/journald.conf.d/guest.conf"
printf '[Manager]\nDefaultTimeoutStopSec=10s\nShowStatus=no\n' >"$etc/systemd/system.conf.d/guest.conf"
# The kernel has no packet filter.
printf '[network]\nfirewall_driver = "none"\n' >"$etc/containers/containers.conf.d/10-guest.conf"

# An ordinary user, for rootless tests; its systemd starts at boot.
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash user
grep -q '^user:' "$etc/subuid" || echo 'user:100000:65536' | tee -a "$etc/subuid" >>"$etc/subgid"
mkdir -p "$root/var/lib/systemd/linger"
touch "$root/var/lib/systemd/linger/user"

cat >"$root/usr/local/sbin/conmon-guest" <<'X'
#!/bin/bash
# The host's directory, through the kernel's own file system for it; what to do is in there.
mount -t hostfs none /xchg -o hostfs=/xchg 2>/dev/null || mount -t hostfs none /xchg -o /xchg || exit 1
exec /bin/bash /xchg/init
X
chmod 755 "$root/usr/local/sbin/conmon-guest"
cat >"$etc/systemd/system/conmon-guest.service" <<'X'
[Unit]
Description=Run the host's script
After=multi-user.target dbus.service systemd-journald.service systemd-tmpfiles-setup.service
# Lingering starts it too, but nobody waits for that.
Wants=user@1000.service
After=user@1000.service
[Service]
ExecStart=/usr/local/sbin/conmon-guest
ExecStopPost=/usr/bin/systemctl poweroff --force --force
OOMPolicy=continue
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
[Install]
WantedBy=multi-user.target
X
ln -s /etc/systemd/system/conmon-guest.service "$etc/systemd/system/multi-user.target.wants/"
ln -sf /usr/lib/systemd/system/multi-user.target "$etc/systemd/system/default.target"

echo "mke2fs" >&2
truncate -s 8G "$CACHE/base.tmp"
mke2fs -q -t ext4 -O ^metadata_csum -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -L guest \
    -d "$root" "$CACHE/base.tmp"
mv "$CACHE/base.tmp" "$CACHE/base.ext4"
