//! Builds the libraries of faults, which nothing links and only tests load, and the floor of the
//! benchmark.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const FAULTS: &str = "faults/faults.rs";
const SLY_FAULTS: &str = "faults/sly/lib.rs";
const FLOOR: &str = "floor/floor.c";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=faults");
    for (source, name) in [(FAULTS, "FAULTS"), (SLY_FAULTS, "SLY_FAULTS")] {
        let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
        let library = output.join(format!("lib{}.so", name.to_lowercase()));
        let built = build_faults(source, &library);
        let path = if built { library.display().to_string() } else { String::new() };
        println!("cargo::rustc-env=CONMON_COMPAT_{name}={path}");
    }
    println!("cargo::rerun-if-changed={FLOOR}");
    let floor = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("floor");
    if !build_floor(&floor) {
        // The suite takes the program in, and empty means that there is none.
        std::fs::write(&floor, "")?;
    }
    Ok(())
}

/// Reports whether `output` now holds the floor; without it the benchmark lacks a column.
fn build_floor(output: &Path) -> bool {
    // The compiler that also links Rust programs. It builds for the host alone.
    env::var_os("TARGET") == env::var_os("HOST")
        && Command::new("cc")
            .args(["-O2", "-static", "-w", "-o"])
            .arg(output)
            .arg(FLOOR)
            .output()
            .is_ok_and(|done| done.status.success())
}

/// Reports whether `output` now holds a library of faults; only its own test misses it.
fn build_faults(source: &str, output: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let target = env::var_os("TARGET").unwrap_or_default();
    Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=1", "-Cpanic=abort"])
        .arg("--target")
        .arg(target)
        .arg("-o")
        .arg(output)
        .arg(source)
        .output()
        .is_ok_and(|done| done.status.success())
}
