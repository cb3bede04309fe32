//! The command: run, list, show, record, check, doctor, bench.

#![allow(clippy::print_stderr, reason = "it talks to people")]

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use conmon_compat::world::keeper;
use conmon_compat::{bench, cli, crio, driver};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).take(2).collect();
    let rest = || std::env::args_os().skip(2).collect::<Vec<_>>();
    let done = match words.first().map(String::as_str) {
        // Its options are its own.
        Some("bench") => return bench::main(&rest()),
        Some(bench::guard::GUARD) => return bench::guard::guard(&rest()),
        Some(bench::guard::WORKER) => {
            if let Err(error) = keeper::hold_controllers() {
                eprintln!("conmon-compat: {error:#}");
            }
            return bench::guard::work(&rest());
        }
        Some(keeper::KEEPER) => words
            .get(1)
            .context("no player")
            .and_then(|player| keeper::keep(player).map(|status| status.success())),
        Some(keeper::TIDIER) => keeper::tidy_here().map(|()| true),
        Some(driver::player::COMMAND) => driver::player::play().map(|()| true),
        Some(crio::player::COMMAND) => crio::player::play().map(|()| true),
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
