//! All lives and all faults of one monitor.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::faults::exceptions::Exception;
use crate::faults::matrix::{self, Case};
use crate::faults::outcome::Outcome;
use crate::faults::play::play;
use crate::faults::verdict::{Verdict, judge};
use crate::text::glob;

/// The lives of the stage.
pub const LIVES: [&str; 8] =
    ["k8s-file", "journald", "terminal", "attach", "exec", "exec-sync", "notify", "rotation"];

/// How often a life that went wrong is played again, to tell a steady problem from the machine's.
const REPEATS: usize = 2;

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The helper program `fault-stage`.
    pub stage: PathBuf,
    pub monitor: PathBuf,
    /// Names of cases, with `*`; none means all.
    pub filters: Vec<String>,
    /// Each so-many-th case only.
    pub stride: usize,
    pub jobs: usize,
    pub exceptions: Vec<Exception>,
}

/// A case and what became of it.
#[derive(Debug, Clone)]
pub struct Ran {
    pub case: Case,
    pub verdict: Verdict,
    /// The problems that no exception explains, seen again in a repetition.
    pub unexplained: Vec<String>,
    /// Seen once and not again.
    pub unsteady: Vec<String>,
}

/// All that was played.
#[derive(Debug, Default)]
pub struct Results {
    pub ran: Vec<Ran>,
    /// Lives that the monitor does not lead even without a fault, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Exceptions that nothing needed; judged only when everything was played.
    pub stale: Vec<Exception>,
    pub took: Duration,
}

impl Results {
    pub fn passed(&self) -> bool {
        self.stale.is_empty()
            && self
                .ran
                .iter()
                .all(|ran| ran.unexplained.is_empty() && !matches!(ran.verdict, Verdict::Broken(_)))
    }
}

/// Records each life, then plays it once for each fault.
///
/// # Errors
///
/// The stage does not work at all.
pub fn run(plan: &Plan, progress: impl Fn(usize, usize) + Sync) -> Result<Results> {
    let begin = Instant::now();
    let mut results = Results::default();
    let mut lives: Vec<(Case, Outcome)> = Vec::new();
    let wanted = |name: &str| {
        let fits = |filter: &String| glob(filter, name, '\0') || name.starts_with(filter.as_str());
        plan.filters.is_empty() || plan.filters.iter().any(fits)
    };
    for life in LIVES {
        let plain = play(&plan.stage, &plan.monitor, life, None)?;
        match judge(&plain, &plain, None) {
            Verdict::Survived => {}
            Verdict::Broken(why) => bail!("{life}: {why}"),
            verdict => {
                let why = plain.said.first().cloned().unwrap_or_else(|| format!("{verdict:?}"));
                results.skipped.push((life.to_owned(), why));
                continue;
            }
        }
        let cases = matrix::cases(life, &plain.calls);
        let cases = cases.into_iter().filter(|case| wanted(&case.name()));
        lives.extend(cases.map(|case| (case, plain.clone())));
    }
    let chosen: Vec<(Case, Outcome)> = lives.into_iter().step_by(plan.stride.max(1)).collect();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let ran = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some((case, plain)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = run_case(plan, case, plain);
                    let mut ran = ran.lock().unwrap_or_else(PoisonError::into_inner);
                    ran.push(one);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, chosen.len());
                }
            });
        }
    });
    results.ran = ran.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.ran.sort_by_key(|ran| ran.case.name());
    if plan.filters.is_empty() && plan.stride <= 1 {
        let is_stale = |exception: &&Exception| {
            !results.ran.iter().any(|ran| match &ran.verdict {
                Verdict::Wrong(problems) => {
                    problems.iter().any(|problem| exception.explains(&ran.case.name(), problem))
                }
                _ => false,
            })
        };
        results.stale = plan.exceptions.iter().filter(is_stale).cloned().collect();
    }
    results.took = begin.elapsed();
    Ok(results)
}

fn run_case(plan: &Plan, case: &Case, plain: &Outcome) -> Ran {
    let name = case.name();
    let once = || match play(&plan.stage, &plan.monitor, &case.life, Some(&case.fault)) {
        Ok(outcome) => judge(&outcome, plain, Some(&case.fault)),
        Err(error) => Verdict::Broken(format!("{error:#}")),
    };
    let unexplained = |verdict: &Verdict| -> Vec<String> {
        let Verdict::Wrong(problems) = verdict else { return Vec::new() };
        let explained = |problem: &&String| {
            plan.exceptions.iter().any(|exception| exception.explains(&name, problem))
        };
        problems.iter().filter(|problem| !explained(problem)).cloned().collect()
    };
    let verdict = once();
    let first = unexplained(&verdict);
    let mut steady = Vec::new();
    let mut unsteady = Vec::new();
    if !first.is_empty() {
        let again: Vec<String> = (0..REPEATS).flat_map(|_| unexplained(&once())).collect();
        let kind = |problem: &String| problem.split(':').next().map(str::to_owned);
        (steady, unsteady) = first
            .into_iter()
            .partition(|problem| again.iter().any(|other| kind(other) == kind(problem)));
    }
    Ran { case: case.clone(), verdict, unexplained: steady, unsteady }
}
