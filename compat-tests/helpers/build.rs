//! Builds the payload as a static program, so that it runs in an empty root file system, and puts it beside the other helpers.
//!
//! Cargo cannot link one program of a package statically and the others not, hence the direct call of the compiler. Where the
//! host has no static C library there is no payload, and whoever needs it then says so.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/payload/main.rs";

fn main() {
    println!("cargo::rerun-if-changed=src/payload");
    println!("cargo::rerun-if-changed=src/shared/fd_facts.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("payload");
    let musl = target.replace("-gnu", "-musl");
    if [target, musl].iter().any(|target| build_static(target, &output)) {
        // `build/PACKAGE-HASH/out` is three levels below the programs.
        if let Some(Err(error)) = output.ancestors().nth(4).map(|place| put(&output, place)) {
            println!("cargo::warning=the payload cannot be put beside the helpers: {error}");
        }
    } else {
        println!("cargo::warning=no static payload: install glibc-static (Fedora) or libc6-dev");
    }
    println!("cargo::rustc-env=CONMON_COMPAT_PAYLOAD={}", output.display());
}

/// Replaces the program in `place` at once: a test may be running it.
fn put(output: &Path, place: &Path) -> std::io::Result<()> {
    let new = place.join(format!(".payload.{}", std::process::id()));
    fs::copy(output, &new)?;
    fs::rename(&new, place.join("payload"))
}

/// Reports whether `output` now holds a static payload for `target`.
fn build_static(target: &str, output: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--edition=2024", "--crate-name=payload", "-Copt-level=2", "-Cpanic=abort"];
    let links = ["-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    // Named by cargo's configuration for another machine.
    let linker = env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    Command::new(rustc)
        .args(arguments)
        .args(links)
        .args(linker.ok())
        .args(["--target", target, "-o"])
        .arg(output)
        .arg(SOURCE)
        .output()
        .is_ok_and(|done| done.status.success())
}
