//! Playing many cases: in what order, how many at once, how often, and until when.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::case::{CaseResult, Comparison, Outcome, Table};
use crate::host::cgroup;
use crate::stop;
use crate::world::keeper;

/// How many cases run at once, and how often each.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Nothing: as many as suit the table.
    pub jobs: Option<usize>,
    pub repeat: usize,
}

/// What an outcome says when the run was ended before its case was played.
pub const NOT_PLAYED: &str = "not played: the run was stopped";

/// Plays tables one after the other and hands each outcome on. After a signal the rest is handed on as not played.
pub fn run(comparison: &Comparison, tables: &[Table], pace: Pace, outcomes: &Sender<Outcome>) {
    cgroup::sweep();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for table in tables {
        let jobs = pace.jobs.unwrap_or(processors * table.jobs_per_processor);
        run_table(comparison, table, jobs, pace.repeat, outcomes);
    }
    keeper::tidy(&comparison.program);
}

fn run_table(
    comparison: &Comparison,
    table: &Table,
    jobs: usize,
    repeat: usize,
    outcomes: &Sender<Outcome>,
) {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(outcomes.clone());
    let total = table.cases.len() * repeat;
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, total.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= total {
                        return;
                    }
                    let case = &table.cases[index % table.cases.len()];
                    let outcome = if stop::asked() {
                        let result = CaseResult::Skipped(NOT_PLAYED.to_owned());
                        Outcome { case: case.clone(), result, took: Duration::ZERO }
                    } else {
                        comparison.play(case)
                    };
                    let sender = outcomes.lock().map(|sender| sender.clone());
                    if sender.is_ok_and(|sender| sender.send(outcome).is_err()) {
                        return;
                    }
                }
            });
        }
    });
}
