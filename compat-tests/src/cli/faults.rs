//! `conmon-compat faults`: `run --table faults` with words of its own.

use anyhow::Result;
use clap::Args;

use super::run::Play;
use crate::case::Source;
use crate::tables::faults;

/// The options of `faults`.
#[derive(Args)]
pub struct FaultArgs {
    #[command(flatten)]
    play: Play,
    /// Only each N-th of the cases
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
}

impl FaultArgs {
    /// Plays and prints; whether nothing is wrong.
    ///
    /// # Errors
    ///
    /// The suite cannot play.
    pub fn run(self) -> Result<bool> {
        let play = &self.play;
        let selection = play.selection.within(faults::NAME);
        let mut tables = selection.tables_of(play.candidate.as_ref())?;
        for table in &mut tables {
            let cases = std::mem::take(&mut table.cases);
            table.cases = cases.into_iter().step_by(self.every.max(1)).collect();
        }
        // Nothing is asked of a reference.
        let comparison = play.comparison(Source::Run(play.candidate()?))?;
        let mut extent = selection.extent();
        extent.complete &= self.every <= 1;
        play.compare(&comparison, &tables, extent)
    }
}
