#!/bin/bash
# Starts the guest's kernel: boot.sh MEMORY RUN-DIR. Called by guest.sh in private mount and pid namespaces.
#
# The kernel is a program of the guest's Debian and needs its C library, so it runs in a small root of its own, in which
# only the image, the exchange directory and the shared directories of this run appear.
set -euo pipefail
memory=$1 run_dir=$2 host=$CACHE/host

mount -t proc proc "$host/proc"
mount -t tmpfs -o mode=755 tmpfs "$host/dev"
for node in null zero full random urandom tty; do
    touch "$host/dev/$node"
    mount --bind "/dev/$node" "$host/dev/$node"
done
mkdir "$host/dev/shm"
mount -t tmpfs -o mode=1777,size=90% tmpfs "$host/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$host/tmp"
mount -t tmpfs tmpfs "$host/img"
mkdir "$host/img/run"
touch "$host/img/base.ext4"
mount --bind "$CACHE/base.ext4" "$host/img/base.ext4"
mount --bind "$run_dir" "$host/img/run"
mount --bind "$run_dir/xchg" "$host/xchg"
mount -t tmpfs tmpfs "$host/shared"
while IFS= read -r share; do
    mkdir "$host/shared/${share##*:}"
    mount --bind -o ro "${share%:*}" "$host/shared/${share##*:}"
done <"$run_dir/shares"

# shellcheck disable=SC2054  # these commas belong to values
arguments=(
    "mem=$memory" umid=guest uml_dir=/tmp/uml ubd0=/img/run/cow,/img/base.ext4 root=/dev/ubda rw panic=-1 noreboot
    # The kernel's messages go to a file, what the script prints (on the first terminal) to our standard output.
    console=tty0 con0=null,fd:3 con1=null,fd:4 con=null ssl=null
    seccomp=auto quiet loglevel=4 random.trust_cpu=on net.ifnames=0
    systemd.show_status=no systemd.log_target=journal systemd.gpt_auto=0
)
cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/dev/shm \
    chroot "$host" /usr/bin/linux.uml "${arguments[@]}" \
    </dev/null 3>"$run_dir/kernel.log" 4>&1 >"$run_dir/uml.log" 2>&1
