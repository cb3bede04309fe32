//! The command: run, list, show, record, check, doctor, bench.

#![allow(clippy::print_stderr, reason = "it talks to people")]

use std::process::ExitCode;

use clap::Parser;
use conmon_compat::driver::player;
use conmon_compat::world::keeper;
use conmon_compat::{bench, cli};

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        // Its options are its own.
        Some("bench") => {
            if let Err(error) = keeper::hold_controllers() {
                eprintln!("conmon-compat: {error:#}");
            }
            return bench::main(&std::env::args_os().skip(2).collect::<Vec<_>>());
        }
        Some(keeper::KEEPER) => keeper::keep().map(|status| status.success()),
        Some(keeper::PLAYER) => player::play().map(|()| true),
        Some(keeper::TIDIER) => keeper::tidy_here().map(|()| true),
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
