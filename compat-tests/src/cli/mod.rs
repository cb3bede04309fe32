//! The command line of the suite.

mod bless;
mod doctor;
mod faults;
mod files;
mod golden;
mod run;
mod selection;

use crate::host::Host;
use crate::stdout;
use crate::tables::faults as faults_table;
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use selection::{Place, Selection, nearest};

/// Compares two container monitors by running real containers under both.
#[derive(Parser)]
#[command(name = "conmon-compat", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play cases under a reference and a candidate and show what differs
    Run(run::RunArgs),
    /// List the cases, and what keeps them from being played here
    List(Selection),
    /// Show what a case does, and how to do it by hand
    Show {
        /// As `list` says it: `area/behaviour`, `podman/area/behaviour`
        case: String,
        #[command(flatten)]
        place: Place,
    },
    /// Record what one monitor does, for a later `check`
    Record(golden::RecordArgs),
    /// Compare a candidate with recorded observations
    Check(golden::CheckArgs),
    /// Say what this host lacks and which cases will be skipped for it
    Doctor(Selection),
    /// The same as `run --table faults`: one system call of a monitor fails in each of some thousand lives of a container
    Faults(faults::FaultArgs),
    /// Measure two or more monitors side by side; see `bench --help`
    Bench,
}

impl Cli {
    /// Does what was asked; false when something differs.
    pub fn run(self) -> Result<bool> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::List(selection) => list(&selection),
            Command::Show { case, place } => show(&case, place),
            Command::Record(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Faults(args) => args.run(),
            Command::Doctor(selection) => doctor::run(&selection),
            // `main` has taken it already.
            Command::Bench => bail!("bench is the first word or none"),
        }
    }
}

fn list(selection: &Selection) -> Result<bool> {
    let host = Host::look();
    for case in selection.tables()?.iter().flat_map(|table| &table.cases) {
        let (why, rules) = (case.why().replace('\n', " "), case.proves().join(" "));
        let rules = if rules.is_empty() { rules } else { format!(" [{rules}]") };
        let lack = case.lack(&host).map_or(String::new(), |lack| format!(" [skipped: {lack}]"));
        stdout::print_line(format_args!("{:60} {why}{rules}{lack}", case.key()));
    }
    Ok(true)
}

fn show(name: &str, place: Place) -> Result<bool> {
    let mut selection = Selection::everything(place);
    if name.starts_with("faults/") {
        selection = selection.of_table(faults_table::NAME);
    }
    let tables = selection.tables()?;
    let mut cases = tables.iter().flat_map(|table| &table.cases);
    let found = cases.find(|case| case.name() == name || case.key() == name);
    let found = found.with_context(|| {
        let cases = tables.iter().flat_map(|table| &table.cases);
        let near = nearest(name, cases.map(|case| case.name()));
        format!("no case `{name}`{near}; `list` shows them all")
    })?;
    stdout::print(found.story()?);
    Ok(true)
}
