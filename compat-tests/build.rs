//! Builds the payload as a static program, so that it runs in an empty root file system, and
//! the library of faults, which nothing links.
//!
//! Cargo cannot link one binary of a package statically and the others not, hence the direct
//! call of the compiler. The path is handed on as `CONMON_COMPAT_PAYLOAD`; it is empty where
//! the host has no static C library, and whoever needs the payload then says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/bin/payload/main.rs";
const FAULTS: &str = "faults/faults.rs";

fn main() {
    println!("cargo::rerun-if-changed=src/bin/payload");
    println!("cargo::rerun-if-changed=src/bin/shared/fd_facts.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("payload");
    let musl = target.replace("-gnu", "-musl");
    let built = [target, musl].iter().any(|target| build_static(target, &output));
    let path = if built { output.display().to_string() } else { String::new() };
    if !built {
        println!("cargo::warning=no static payload: install glibc-static (Fedora) or libc6-dev");
    }
    println!("cargo::rustc-env=CONMON_COMPAT_PAYLOAD={path}");
    println!("cargo::rerun-if-changed={FAULTS}");
    let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("libfaults.so");
    let path = if build_faults(&library) { library.display().to_string() } else { String::new() };
    println!("cargo::rustc-env=CONMON_COMPAT_FAULTS={path}");
}

/// Reports whether `output` now holds the library of faults; only its own test misses it.
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

/// Reports whether `output` now holds a static payload for `target`.
fn build_static(target: &str, output: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--edition=2024", "--crate-name=payload", "-Copt-level=2", "-Cpanic=abort"];
    let links = ["-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    Command::new(rustc)
        .args(arguments)
        .args(links)
        .args(["--target", target, "-o"])
        .arg(output)
        .arg(SOURCE)
        .output()
        .is_ok_and(|done| done.status.success())
}
