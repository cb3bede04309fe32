//! Playing many cases: in what order, how many at once, how often, and until when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use crate::case::{Case, CaseResult, Comparison, Outcome, Table};
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

/// Plays tables one after the other and hands each outcome on. Once the end is asked for, the rest is handed on as not played.
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
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return;
            }
            let case = &table.cases[index % table.cases.len()];
            let outcome =
                if stop::asked() { Outcome::not_played(case) } else { play(comparison, case) };
            let sender = outcomes.lock().map(|sender| sender.clone());
            if sender.is_ok_and(|sender| sender.send(outcome).is_err()) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one plays alone.
        let wanted = 0..jobs.clamp(1, total.max(1));
        let workers = wanted.map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        if workers.count() == 0 {
            work();
        }
    });
}

/// Plays one case; a panic of the suite loses this one and no other.
fn play(comparison: &Comparison, case: &Arc<dyn Case>) -> Outcome {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| comparison.play(case))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        let result = CaseResult::Broken(format!("the suite panicked: {text}"));
        Outcome { case: case.clone(), result, took: began.elapsed() }
    })
}
