//! Finds the commit that `--version` shows and hands it on as `CONMON_GIT_COMMIT`.
//!
//! In this order: the variable of that name, for who builds a package; the file
//! packaging/commit, which `git archive` fills in; the checkout this is. Nothing else is worth
//! failing for: what is not known is said to be unknown.

use std::path::Path;
use std::process::Command;

const FILE: &str = "packaging/commit";

fn main() {
    println!("cargo::rerun-if-env-changed=CONMON_GIT_COMMIT");
    println!("cargo::rerun-if-changed={FILE}");
    for path in ["build.rs", "src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let named = std::env::var("CONMON_GIT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(from_archive).or_else(from_checkout);
    println!("cargo::rustc-env=CONMON_GIT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit of an archive's file; in a checkout it holds only the place for it.
fn from_archive() -> Option<String> {
    let text = std::fs::read_to_string(FILE).ok()?;
    let commit = text.trim();
    commit.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| commit.to_owned())
}

/// The checkout's commit, with `-dirty` behind it when a file differs from it.
fn from_checkout() -> Option<String> {
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    // An archive that was unpacked inside of another project's checkout is none of ours.
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // It grows whenever the checkout moves to another commit.
    if let Some(history) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={history}");
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-dirty") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
