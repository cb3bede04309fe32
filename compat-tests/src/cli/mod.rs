//! The command line of the suite.

mod bless;
mod faults;
mod files;
mod golden;
mod run;
mod selection;

use crate::host::Host;
use crate::host::subject::Subject;
use crate::report::about;
use crate::scenario::RuntimeKind;
use crate::stdout;
use crate::tables::faults as faults_table;
use crate::tables::probe;
use crate::world::programs;
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use selection::{Place, Selection, built_monitor, nearest, program};
use std::path::{Path, PathBuf};

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
            Command::Doctor(selection) => doctor(&selection),
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
    for (name, version) in about::programs(&host) {
        stdout::print_line(format_args!("{} {name}: {version}", console::style("ok  ").green()));
    }
    let works = try_out(&host, &program)?;
    let tables = selection.tables()?;
    let cases: Vec<_> = tables.iter().flat_map(|table| &table.cases).collect();
    let skipped: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("  {}: {}", case.key(), case.lack(&host)?)))
        .collect();
    stdout::print_line(format_args!("{} of {} runs will be skipped", skipped.len(), cases.len()));
    skipped.iter().for_each(stdout::print_line);
    Ok(works && nix::unistd::geteuid().is_root())
}

/// Has each monitor say its version and each runtime lead one container's life; whether all of them do.
fn try_out(host: &Host, program: &Path) -> Result<bool> {
    let mut works = true;
    let mut tell = |what: String, result: Result<String>| match result {
        Ok(text) => {
            stdout::print_line(format_args!("{} {what}: {text}", console::style("ok  ").green()));
        }
        Err(problem) => {
            works = false;
            let mark = console::style("lack").red();
            stdout::print_line(format_args!("{mark} {what}: {problem:#}"));
        }
    };
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let reference = named("CONMON_REFERENCE").unwrap_or_else(|| "/usr/bin/conmon".into());
    let candidate = named("CONMON_CANDIDATE").map_or_else(built_monitor, Ok)?;
    let root = nix::unistd::geteuid().is_root();
    let mut monitor = None;
    let mut monitors = vec![("candidate", candidate), ("reference", reference)];
    // An installed suite has none of its own build; `run` names it.
    if named("CONMON_CANDIDATE").is_none() && !monitors[0].1.exists() {
        let (what, path) = monitors.remove(0);
        let (mark, path) = (console::style("lack").yellow(), path.display());
        stdout::print_line(format_args!("{mark} {what}: none at {path}; name it by --candidate"));
    }
    for (what, path) in monitors {
        let subject = Subject::check(&path);
        let tried = subject.and_then(|subject| {
            if root {
                probe::monitor(program, host, &subject)?;
            }
            let text = format!("{} ({})", subject.path.display(), subject.label);
            monitor = Some(subject);
            Ok(text)
        });
        tell(what.to_owned(), tried);
    }
    let Some(monitor) = monitor.filter(|_| root) else { return Ok(works) };
    for kind in [RuntimeKind::Crun, RuntimeKind::Runc] {
        if host.runtime(kind).is_some() {
            let tried = probe::runtime(program, host, &monitor, kind);
            tell(format!("a container with {kind}"), tried.map(|()| "lives and ends".to_owned()));
        }
    }
    Ok(works)
}
