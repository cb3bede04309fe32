//! The command: run, list, show, record, check, doctor.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to people")]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use conmon_compat::stage;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        Some(stage::KEEPER) => stage::keep().map(|status| status.success()),
        Some(stage::PLAYER) => stage::play().map(|()| true),
        Some(stage::TIDIER) => stage::tidy_here().map(|()| true),
        _ => cli::Cli::parse().run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conmon-compat: {error:#}");
            ExitCode::from(2)
        }
    }
}
