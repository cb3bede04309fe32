//! What the commands that play a table of cases have in common: options, playing, the summary, and the end by a signal.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use crate::podman::report::{self, Row, Verdict};
use crate::podman::script::STOP;
use crate::stdout;

/// The options of each of these commands. They must not have this name for their own: clap makes a group of each.
#[derive(Args)]
pub struct Common {
    /// The monitor that is known to be right.
    #[arg(long, env = "CONMON_REFERENCE", default_value = "/usr/bin/conmon")]
    pub reference: PathBuf,
    /// The monitor under test.
    #[arg(long, env = "CONMON_CANDIDATE")]
    candidate: Option<PathBuf>,
    /// Only cases whose name, as --list says it, contains this; may be repeated.
    #[arg(long)]
    filter: Vec<String>,
    /// Cases at a time.
    #[arg(long, value_parser = at_least_one)]
    jobs: Option<usize>,
    /// How often to play each case.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    repeat: usize,
    /// List the cases, and what keeps them from being played here.
    #[arg(long)]
    pub list: bool,
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long)]
    junit: Option<PathBuf>,
}

impl Common {
    /// Keeps the cases that are wanted.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn choose<C>(&self, cases: &mut Vec<C>, id: impl Fn(&C) -> String) -> Result<()> {
        cases.retain(|case| {
            let id = id(case);
            self.filter.is_empty() || self.filter.iter().any(|filter| id.contains(filter))
        });
        if cases.is_empty() {
            bail!("no case matches");
        }
        Ok(())
    }

    /// The monitor under test: by default that of the same build.
    #[must_use]
    pub fn candidate(&self) -> PathBuf {
        let beside_us = || std::env::current_exe().unwrap_or_default().with_file_name("conmon");
        self.candidate.clone().unwrap_or_else(beside_us)
    }

    /// Plays all cases, several at a time, and shows each row as it is done.
    pub fn play<C: Sync>(
        &self,
        cases: &[C],
        play: impl Fn(&C) -> Row + Sync,
        show: impl Fn(&Row) + Sync,
    ) -> Vec<Row> {
        let queue: Vec<&C> = std::iter::repeat_n(cases, self.repeat).flatten().collect();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.unwrap_or(2 * processors);
        let next = AtomicUsize::new(0);
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(queue.len()) {
                scope.spawn(|| {
                    while let Some(case) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if STOP.load(Ordering::Relaxed) {
                            break;
                        }
                        let row = play(case);
                        show(&row);
                        if let Ok(mut rows) = rows.lock() {
                            rows.push(row);
                        }
                    }
                });
            }
        });
        let mut rows = rows.into_inner().unwrap_or_default();
        rows.sort_by(|a, b| a.case.cmp(&b.case));
        rows
    }

    /// Writes the reports and prints the summary; whether nothing failed.
    ///
    /// # Errors
    ///
    /// A signal ended the run, or a report cannot be written.
    pub fn finish(&self, suite: &str, rows: &[Row]) -> Result<bool> {
        if STOP.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| path.display().to_string())
        };
        if let Some(path) = &self.json {
            write(path, serde_json::to_string_pretty(&rows)?)?;
        }
        if let Some(path) = &self.junit {
            write(path, report::junit(suite, rows))?;
        }
        let count = |wanted: fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
        let failed = count(Row::failed);
        let skipped = count(|row| matches!(row.verdict, Verdict::Skipped { .. }));
        let known = count(|row| matches!(row.verdict, Verdict::DiffersAsKnown { .. }));
        stdout::print_line(format_args!("\n{} cases, {known} known differences", rows.len()));
        for row in rows.iter().filter(|row| row.failed()) {
            stdout::print_line(format_args!("failed: {}", row.case));
        }
        stdout::print_line(format_args!(
            "{} passed, {failed} failed, {skipped} skipped",
            rows.len() - failed - skipped
        ));
        Ok(failed == 0)
    }
}

/// A number of which zero would mean that nothing is compared, and nothing fails.
///
/// # Errors
///
/// It is none.
pub fn at_least_one(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on".into()),
        Ok(number) => Ok(number),
    }
}

/// Prints a case for `--list`, with what keeps it from being played here.
pub fn print_listed(id: &str, why: &str, lack: Option<String>) {
    let note = lack.map_or(String::new(), |reason| format!(" [skipped: {reason}]"));
    stdout::print_line(format_args!("{id}: {why}{note}"));
}

/// Has the first of these signals end the run, orderly: after what is in progress, and with worlds removed.
pub fn end_on_signals() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    if signals.thread_block().is_ok() {
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                STOP.store(true, Ordering::Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        common: Common,
    }

    #[test]
    fn a_run_of_nothing_is_refused() {
        for option in ["--repeat", "--jobs"] {
            assert!(Command::try_parse_from(["x", option, "0"]).is_err(), "{option}");
            assert!(Command::try_parse_from(["x", option, "1"]).is_ok(), "{option}");
        }
        let options = Command::parse_from(["x", "--filter", "b"]).common;
        assert!(options.choose(&mut vec!["a"], |id| (*id).to_owned()).is_err());
        assert!(options.choose(&mut vec!["a", "ab"], |id| (*id).to_owned()).is_ok());
    }
}
