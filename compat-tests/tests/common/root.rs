//! Tests that play worlds.

use crate::skip::skipped;

/// Whether worlds can be made; says so where not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped("worlds need root");
    }
    root
}
