//! `conmon-compat faults`: `run --table faults` with words of its own.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::run::{Known, Output, compare};
use super::selection::{Pace, Selection, built_monitor, program, subject};
use crate::case::{Comparison, Source};
use crate::tables::faults;

/// The options of `faults`.
#[derive(Args)]
pub struct FaultArgs {
    /// The monitor under test [default: the workspace's build]
    #[arg(long, env = "CONMON_CANDIDATE", value_name = "PATH")]
    candidate: Option<PathBuf>,
    /// Only each N-th of the cases
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    known: Known,
}

impl FaultArgs {
    /// Plays and prints; whether nothing is wrong.
    ///
    /// # Errors
    ///
    /// The suite cannot play.
    pub fn run(self) -> Result<bool> {
        let selection = self.selection.within(faults::NAME);
        let mut tables = selection.tables_of(self.candidate.as_ref())?;
        for table in &mut tables {
            let cases = std::mem::take(&mut table.cases);
            table.cases = cases.into_iter().step_by(self.every.max(1)).collect();
        }
        let candidate = subject(self.candidate.as_ref(), &built_monitor()?)?;
        // Nothing is asked of a reference.
        let reference = Source::Run(candidate.clone());
        let mut comparison = Comparison::new(program()?, reference, candidate, Vec::new());
        self.known.teach(&mut comparison, &selection.place)?;
        let complete = self.every <= 1 && selection.is_complete();
        compare(&comparison, &tables, &self.pace, &self.output, complete)
    }
}
