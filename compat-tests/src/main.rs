//! The command: run, list, show, record, check, doctor, bench.

#![allow(clippy::print_stderr, reason = "it talks to people")]

mod bench;
mod cli;

use std::process::ExitCode;

use clap::Parser;
use conmon_compat::stage;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        // Its options are its own.
        Some("bench") => {
            if let Err(error) = stage::hold_controllers() {
                eprintln!("conmon-compat: {error:#}");
            }
            return bench::main(&std::env::args_os().skip(2).collect::<Vec<_>>());
        }
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
