//! The command line of the suite.

mod faults;
mod files;
mod golden;
mod run;
mod selection;
mod show;

use crate::host::Host;
use crate::scenario::RuntimeKind;
use crate::stdout;
use crate::world::programs;
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use selection::{Place, Selection, program};

/// Compares two container monitors by running real containers under both.
#[derive(Parser)]
#[command(name = "conmon-compat", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios under a reference and a candidate and show what differs
    Run(run::RunArgs),
    /// List the scenarios
    List(Selection),
    /// Show what a scenario does, and how to do it by hand
    Show {
        /// `area/behaviour`
        scenario: String,
        #[command(flatten)]
        place: Place,
    },
    /// Record what one monitor does, for a later `check`
    Record(golden::RecordArgs),
    /// Compare a candidate with recorded observations
    Check(golden::CheckArgs),
    /// Say what this host lacks and which scenarios will be skipped for it
    Doctor(Selection),
    /// Let one system call of a monitor fail in each of some thousand lives of a container
    Faults(faults::FaultArgs),
    /// Measure two or more monitors side by side; see `bench --help`
    Bench,
}

impl Cli {
    /// Does what was asked; false when something differs.
    pub fn run(self) -> Result<bool> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::List(selection) => {
                for task in selection.tasks()? {
                    let data = &task.scenario.data;
                    let (why, rules) = (data.why.replace('\n', " "), data.rules.join(" "));
                    stdout::print_line(format_args!("{:60} {why} [{rules}]", task.key()));
                }
                Ok(true)
            }
            Command::Show { scenario, place } => {
                let all = place.load()?;
                let found = all.iter().find(|s| s.name == scenario);
                let found = found
                    .with_context(|| format!("no scenario `{scenario}`; `list` shows them all"))?;
                stdout::print(show::describe(found)?);
                Ok(true)
            }
            Command::Record(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Faults(args) => args.run(),
            Command::Doctor(selection) => doctor(&selection),
            // `main` has taken it already.
            Command::Bench => bail!("bench is the first word or none"),
        }
    }
}

fn doctor(selection: &Selection) -> Result<bool> {
    let host = Host::look();
    for finding in host.findings() {
        let (word, text) = match finding.found {
            Ok(found) => (console::style("ok  ").green(), found),
            Err(lack) => (console::style("lack").yellow(), lack),
        };
        stdout::print_line(format_args!("{word} {}: {text}", finding.what));
    }
    let program = program()?;
    for kind in [RuntimeKind::Crun, RuntimeKind::Standin] {
        if let Err(problem) = programs::tools(&program, &host, kind) {
            stdout::print_line(format_args!("{} {problem:#}", console::style("lack").red()));
        }
    }
    let tasks = selection.tasks()?;
    let skipped: Vec<String> = tasks
        .iter()
        .filter_map(|task| {
            let reason = host.obstacle(&task.scenario, task.runtime)?;
            Some(format!("  {}: {reason}", task.key()))
        })
        .collect();
    stdout::print_line(format_args!("{} of {} runs will be skipped", skipped.len(), tasks.len()));
    skipped.iter().for_each(stdout::print_line);
    Ok(nix::unistd::geteuid().is_root())
}
