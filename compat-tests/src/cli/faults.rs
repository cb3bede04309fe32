//! `conmon-compat faults`: one system call fails, and everything owed is owed all the same.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::selection::program;
use crate::faults::run::{self, Plan};
use crate::faults::{exceptions, tell};
use crate::host::subject::Subject;
use crate::stdout;
use crate::tables::fixtures;
use crate::world::programs;

/// The options of `faults`.
#[derive(Args)]
pub struct FaultArgs {
    /// The monitor under test [default: conmon beside this program]
    #[arg(long, env = "CONMON_CANDIDATE", value_name = "PATH")]
    candidate: Option<PathBuf>,
    /// Another monitor, to be put beside it; what it does wrong does not count
    #[arg(long, value_name = "PATH")]
    reference: Option<PathBuf>,
    /// Only these cases, as `exec`, `terminal/monitor/openat*`; may be repeated
    #[arg(long, short, value_name = "CASE")]
    filter: Vec<String>,
    /// Only each N-th of them
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
    /// How many lives are led at once [default: six for each core]
    #[arg(long, short)]
    jobs: Option<usize>,
    /// What is known of ours and why [default: fixtures/faults.toml]
    #[arg(long, value_name = "FILE")]
    exceptions: Option<PathBuf>,
    /// Say how far it is
    #[arg(long, short)]
    verbose: bool,
}

impl FaultArgs {
    /// Plays and prints; whether nothing is wrong.
    ///
    /// # Errors
    ///
    /// The suite cannot play.
    pub fn run(&self) -> Result<bool> {
        let program = program()?;
        let stage = programs::helper(&program, "fault-stage")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let candidate = self.candidate.clone().unwrap_or_else(|| program.with_file_name("conmon"));
        let known = match &self.exceptions {
            Some(path) => path.clone(),
            None => fixtures::find(None, &program)?.join("faults.toml"),
        };
        let mut passed = true;
        let references = self.reference.iter().map(|path| (path, false));
        for (path, counts) in references.chain([(&candidate, true)]) {
            let subject = Subject::check(path)?;
            let exceptions = if subject.is_ours() { exceptions::load(&known)? } else { Vec::new() };
            let plan = Plan {
                stage: stage.clone(),
                monitor: subject.path.clone(),
                filters: self.filter.clone(),
                stride: self.every,
                jobs: self.jobs.unwrap_or(cores * 6),
                exceptions,
            };
            let results = run::run(&plan, |done, all| {
                if self.verbose && (done % 100 == 0 || done == all) {
                    eprintln!("{done} of {all}");
                }
            })?;
            stdout::print_line(format_args!("{}\n\n{}", subject.label, tell::summary(&results)));
            passed &= results.passed() || !counts;
        }
        Ok(passed)
    }
}
