#!/bin/bash
# Prints what the guest is made of, and fails if it lacks anything the tests count on.
set -e
echo "up $(cut -d' ' -f1 /proc/uptime) s after boot: kernel $(uname -r), $(systemctl --version | head -n 1)"
for package in podman crun runc conmon; do printf '%s ' "$package $(dpkg-query -W -f '${Version}' $package)"; done
echo
echo "cgroup controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
test "$(cat /proc/1/comm)" = systemd
test "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs
grep -qw memory /sys/fs/cgroup/cgroup.controllers
test -S /run/systemd/journal/socket
test -f "$WORKSPACE/Cargo.toml"
