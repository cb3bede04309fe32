//! Builds the library of faults, which nothing links and only tests load.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const FAULTS: &str = "faults/faults.rs";

fn main() {
    println!("cargo::rerun-if-changed={FAULTS}");
    let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("libfaults.so");
    let path = if build_faults(&library) { library.display().to_string() } else { String::new() };
    println!("cargo::rustc-env=CONMON_COMPAT_FAULTS={path}");
}

/// Reports whether `output` now holds the library of faults; only its own tests miss it.
fn build_faults(output: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let target = env::var_os("TARGET").unwrap_or_default();
    Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=1", "-Cpanic=abort"])
        .arg("--target")
        .arg(target)
        .arg("-o")
        .arg(output)
        .arg(FAULTS)
        .output()
        .is_ok_and(|done| done.status.success())
}
