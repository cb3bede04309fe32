#!/bin/bash
# The monitor's unit tests, with the first cargo that is new enough: tmt hands on neither HOME nor a PATH with rustup's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
export HOME
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need_cargo
cargo test --locked -p conmon --bins
