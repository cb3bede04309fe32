//! The same as `conmon-compat run --table podman`; kept for a release.
#![allow(clippy::print_stderr)]

use std::process::ExitCode;

use conmon_compat::alias;

fn main() -> ExitCode {
    eprintln!("podman-compat: {}", alias::exec("podman", std::env::args_os().skip(1)));
    ExitCode::from(2)
}
