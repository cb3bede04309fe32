#!/bin/bash
# Plays the Ansible role against this machine, from a release made for the purpose: converge, once more without a change,
# verify, remove, and remove once more without a change. Puts its files below a directory of its own.
#
#   ci/ansible.sh BINARY     a static conmon for this machine
#
# Needs root, ansible-playbook, Podman and python3.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${1:?a static conmon}
cd "$top/packaging/ansible"
work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-ansible.XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; armv7l) arch=arm ;; i?86) arch=386 ;; *) arch=$(uname -m) ;; esac
mkdir "$work/release"
cp "$binary" "$work/release/conmon.$arch"
(cd "$work/release" && sha256sum "conmon.$arch" >SHA256SUMS)
(cd "$work/release" && exec python3 -u -m http.server --bind 127.0.0.1 0) >"$work/server" 2>&1 &
server=$!
until port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/server") && [ -n "$port" ]; do
    kill -0 "$server" || { cat "$work/server" >&2 && exit 1; }
    sleep 0.1
done

export ANSIBLE_ROLES_PATH=$PWD/roles ANSIBLE_LOCAL_TEMP=$work/tmp ANSIBLE_NOCOWS=1
# Podman reads this file alone, so that the configuration of the machine is left as it is.
export CONTAINERS_CONF=$work/config/50-conmon.conf
version=$(sed -n '1s/conmon version //p' < <("$binary" --version))
play() {
    ansible-playbook -i localhost, -c local -e "conmon_version=$version conmon_release_url=http://127.0.0.1:$port" \
        -e ansible_python_interpreter="$(command -v python3)" -e "conmon_path=$work/installed/conmon-rust/conmon conmon_podman_config=$work/config/50-conmon.conf" "$@" | tee "$work/log"
}
unchanged() {
    grep -q 'changed=0 ' "$work/log" || { echo "ansible.sh: the second run changed something" >&2 && exit 1; }
}
play molecule/default/converge.yml
play molecule/default/converge.yml
unchanged
[ -x "$work/installed/conmon-rust/conmon" ]
play molecule/default/verify.yml
# A binary that is not the release's is replaced, and sums that do not fit are refused.
echo damaged >>"$work/installed/conmon-rust/conmon"
play molecule/default/converge.yml
cmp "$binary" "$work/installed/conmon-rust/conmon"
sed -i 's/^..../0000/' "$work/release/SHA256SUMS"
echo damaged >>"$work/installed/conmon-rust/conmon"
if play molecule/default/converge.yml; then echo "ansible.sh: a wrong sum was accepted" >&2 && exit 1; fi
play molecule/default/cleanup.yml
[ ! -e "$work/installed/conmon-rust" ] && [ ! -e "$work/config/50-conmon.conf" ]
play molecule/default/cleanup.yml
unchanged
echo "ansible: installed, unchanged by a second run, verified, mended, refused with a wrong sum, removed"
