//! Plays CRI-O's part with two monitors through a table of cases and prints where CRI-O would see a difference.
#![allow(clippy::print_stderr)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use conmon_compat::crio::table::{self, Table};
use conmon_compat::crio::tasks::{self, Task};
use conmon_compat::host::Host;
use conmon_compat::podman::report::Row;
use conmon_compat::scenario::RuntimeKind;
use conmon_compat::world::keeper;
use conmon_compat::{crio, stdout, tables};

/// Compares two monitors by what CRI-O sees of them.
#[derive(Parser)]
#[command(name = "crio-compat", version)]
struct Options {
    #[command(flatten)]
    common: tables::Common,
    /// OCI runtimes, each case is played with each: crun, runc.
    #[arg(long, value_parser = runtime, default_values = ["crun", "runc"])]
    runtime: Vec<RuntimeKind>,
    /// Print all facts, not only those that differ.
    #[arg(long)]
    verbose: bool,
}

fn runtime(text: &str) -> Result<RuntimeKind, String> {
    match text {
        "crun" => Ok(RuntimeKind::Crun),
        "runc" => Ok(RuntimeKind::Runc),
        _ => Err("neither crun nor runc".to_owned()),
    }
}

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        Some(keeper::KEEPER) => keeper::keep().map(|status| status.success()),
        Some(keeper::PLAYER) => crio::player::play().map(|()| true),
        Some(keeper::TIDIER) => keeper::tidy_here().map(|()| true),
        _ => run(&Options::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crio-compat: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let common = &options.common;
    let mut tasks = tasks::tasks(&options.runtime);
    common.choose(&mut tasks, Task::id)?;
    if common.list {
        let host = Host::look();
        for task in &tasks {
            tables::print_listed(&task.id(), task.case.why, table::lacks(&host, task));
        }
        return Ok(true);
    }
    tables::end_on_signals();
    let program = std::env::current_exe()?;
    let table = Table::new(&program, &common.reference, &common.candidate())?;
    eprintln!(
        "reference conmon {}, candidate conmon {}",
        table.reference.label, table.candidate.label
    );
    let show = |row: &Row| {
        stdout::print_line(row.text());
        if options.verbose {
            stdout::print_line(row.candidate.as_ref().map_or("", |outcome| &outcome.stdout));
        }
    };
    let rows = common.play(&tasks, |task| table.play(task), show);
    keeper::tidy(&program);
    common.finish("crio", &rows)
}
