#!/bin/bash
# Runs in the guest as conmon-guest.service: mounts what is shared, runs the script, hands back its status, powers off.
exec >/dev/tty1 2>&1 </dev/null
stty -F /dev/tty1 raw -echo
while IFS= read -r name; do
    mkdir -p "/shared/$name"
    mount -t hostfs none "/shared/$name" -o "hostfs=/shared/$name,ro" 2>/dev/null ||
        mount -t hostfs none "/shared/$name" -o "/shared/$name,ro"
done </xchg/shares
export WORKSPACE=/shared/workspace XOUT=/xchg/out HOME=/root USER=root LOGNAME=root TERM=dumb LANG=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mapfile -d '' -t arguments </xchg/args
cd /root || exit
/xchg/script "${arguments[@]}"
echo $? >/xchg/status.new
sync
mv /xchg/status.new /xchg/status
sync
# The terminal's last bytes must have left before the power does.
sleep 0.2
systemctl poweroff --force --force >/dev/null 2>&1
