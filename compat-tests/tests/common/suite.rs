//! The command, and a directory of scenarios for it.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

pub fn suite() -> Command {
    Command::new(env!("CARGO_BIN_EXE_conmon-compat"))
}

/// A directory with one scenario, `area/name`.
#[allow(dead_code, reason = "tests of hosts play those of the suite")]
pub fn scenarios(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("area")).unwrap();
    fs::write(directory.path().join("area/name.toml"), text).unwrap();
    directory
}
