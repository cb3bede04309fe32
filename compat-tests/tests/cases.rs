//! One test for each case of every table: the candidate behaves as the reference, except where `fixtures/divergences.toml` knows
//! better. The same cases, judged by the same code, as `conmon-compat run`. A test of its own for each reference fails for entries that
//! no longer show.
//!
//! What was seen of the candidate is then compared with every monitor recorded in `fixtures/golden`, as `conmon-compat check`
//! would. Records that do not speak for these scenarios and this host are counted at the end.
//!
//! Tables are played one after the other, each with as many jobs as suit it unless `--test-threads` says how many.
//!
//! `CONMON_REFERENCE` and `CONMON_CANDIDATE` name other binaries than the distribution's and the workspace's.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a test program of its own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Result;
use conmon_compat::case::{Case, CaseResult, Comparison, Outcome, Source, Table};
use conmon_compat::golden::Golden;
use conmon_compat::host::Host;
use conmon_compat::host::identity::Identity;
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::report::text;
use conmon_compat::scenario::RuntimeKind;
use conmon_compat::verdict::stale::Stale;
use conmon_compat::world::keeper;
use conmon_compat::{runner, tables, verdict};
use libtest_mimic::{Arguments, Failed, Trial};

const RUNTIMES: [RuntimeKind; 3] = [RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin];

/// What the tests share.
struct Run {
    comparison: Comparison,
    outcomes: Mutex<Vec<Outcome>>,
    recorded: Vec<Recorded>,
}

/// A reference that is not here.
struct Recorded {
    comparison: Comparison,
    outcomes: Mutex<Vec<Outcome>>,
    /// Why cases were not compared, and which.
    void: Mutex<BTreeMap<String, Vec<String>>>,
}

fn main() -> ExitCode {
    match run(Arguments::from_args()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<bool> {
    // Podman has no keeper to do it. There is no other thread yet.
    keeper::hold_controllers()?;
    let comparison = comparison()?;
    let recorded = if comparison.equals { Vec::new() } else { recorded(&comparison)? };
    let run = Arc::new(Run { comparison, outcomes: Mutex::default(), recorded });
    let fixtures = fixtures();
    let tables = tables::NAMES.iter().map(|name| tables::table(name, &fixtures, &RUNTIMES));
    let tables: Vec<Table> = tables.collect::<Result<_>>()?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let asked = arguments.test_threads;
    let mut failed = false;
    for table in tables {
        arguments.test_threads = asked.or(Some(processors * table.jobs_per_processor));
        let cases = runner::spread(&table.cases);
        let trials: Vec<Trial> = cases.into_iter().map(|case| trial(&run, case)).collect();
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
    }
    keeper::tidy(&run.comparison.program);
    let complete = arguments.filter.is_none() && arguments.skip.is_empty();
    // Whatever was asked for: what was played tells which entries showed.
    let all =
        Arguments { list: arguments.list, ignored: arguments.ignored, ..Arguments::default() };
    failed |= libtest_mimic::run(&all, entries(&run, complete)).has_failed();
    for recorded in &run.recorded {
        recorded.tell();
    }
    Ok(!failed)
}

/// One test for each reference: the known divergences showed.
fn entries(run: &Arc<Run>, complete: bool) -> Vec<Trial> {
    let recorded = run.recorded.iter().map(|recorded| (&recorded.comparison, &recorded.outcomes));
    let sides = [(&run.comparison, &run.outcomes)].into_iter().chain(recorded);
    let trial = |(comparison, outcomes): (&Comparison, _)| {
        let name = format!("entries/{}", comparison.reference.label());
        let idle = idle(comparison, outcomes, complete).join("\n");
        Trial::test(name, move || if idle.is_empty() { Ok(()) } else { Err(idle.into()) })
    };
    sides.map(trial).collect()
}

/// Which known divergences did not show.
fn idle(comparison: &Comparison, outcomes: &Mutex<Vec<Outcome>>, complete: bool) -> Vec<String> {
    let outcomes = outcomes.lock().map_or_else(|_| Vec::new(), |outcomes| outcomes.clone());
    let idle = comparison.stale(&outcomes, complete);
    let label = comparison.reference.label();
    let told = |stale: &Stale<'_>| {
        format!("{label}: a known divergence did not show: {}: {}", stale.place(), stale.entry.why)
    };
    idle.iter().map(told).collect()
}

impl Recorded {
    /// Judges what was seen of the candidate in a case; what is wrong, if anything is.
    fn judge(&self, case: &Arc<dyn Case>, live: &CaseResult) -> Option<String> {
        case.fingerprint()?;
        let CaseResult::Judged(live) = live else {
            self.keep(case, CaseResult::Skipped("not played".to_owned()));
            return None;
        };
        if let Some(reason) = self.comparison.void(case.as_ref()) {
            if let Ok(mut void) = self.void.lock() {
                void.entry(reason.clone()).or_default().push(case.key());
            }
            self.keep(case, CaseResult::Skipped(reason));
            return None;
        }
        let result = match self.comparison.judge(case.as_ref(), live.candidate.clone()) {
            Ok(judged) => CaseResult::Judged(judged),
            Err(error) => CaseResult::Broken(format!("{error:#}")),
        };
        self.keep(case, result)
    }

    /// Keeps an outcome without what was seen; what is wrong with it, if anything is.
    fn keep(&self, case: &Arc<dyn Case>, result: CaseResult) -> Option<String> {
        let took = std::time::Duration::ZERO;
        let mut outcome = Outcome { case: case.clone(), result, took };
        let story = (!outcome.is_good()).then(|| {
            let reference = self.comparison.reference.label();
            format!("{reference}:\n{}", text::story(&outcome, &self.comparison.known))
        });
        outcome.forget();
        if let Ok(mut outcomes) = self.outcomes.lock() {
            outcomes.push(outcome);
        }
        story
    }

    /// Says how much was compared, and loudly what was not.
    fn tell(&self) {
        let compared = |outcomes: &[Outcome]| outcomes.iter().filter(|o| !o.is_skipped()).count();
        let count = self.outcomes.lock().map_or(0, |outcomes| compared(&outcomes));
        let label = self.comparison.reference.label();
        println!("{label}: {count} runs compared; {}", self.comparison.traits);
        for (reason, keys) in self.void.lock().iter().flat_map(|void| void.iter()) {
            println!("{label}: NOT COMPARED, {reason}: {} runs: {}", keys.len(), keys.join(", "));
        }
    }
}

/// Every reference of `fixtures/golden`.
fn recorded(live: &Comparison) -> Result<Vec<Recorded>> {
    let here = Identity::look(&Host::look());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(fixtures().join("golden"))? {
        files.push(entry?.path());
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let golden = match Golden::read(&file, &here) {
            Ok(golden) => golden,
            // Nothing to compare with on another architecture; a damaged file is an error.
            Err(error) if format!("{error:#}").contains("this host is") => {
                println!("NOT COMPARED: {error:#}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let comparison = Comparison::new(
            live.program.clone(),
            Source::Recorded(Box::new(golden)),
            live.candidate.clone(),
            live.known.clone(),
        );
        all.push(Recorded { comparison, outcomes: Mutex::default(), void: Mutex::default() });
    }
    Ok(all)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn comparison() -> Result<Comparison> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_conmon-compat"));
    let (reference, candidate) = named_by_environment(&program);
    let reference = Source::Run(Subject::check(&reference)?);
    let known = verdict::load(&fixtures().join("divergences.toml"))?;
    Ok(Comparison::new(program, reference, Subject::check(&candidate)?, known))
}

/// A test, ignored where the host cannot play its case.
fn trial(run: &Arc<Run>, case: Arc<dyn Case>) -> Trial {
    let root = nix::unistd::geteuid().is_root();
    let lack = if root { case.lack(&run.comparison.host) } else { Some("worlds need root".into()) };
    let run = run.clone();
    let trial = Trial::test(case.key(), move || {
        let mut outcome = run.comparison.play(&case);
        let mut stories = Vec::new();
        if !outcome.is_good() {
            stories.push(text::story(&outcome, &run.comparison.known));
        }
        stories.extend(run.recorded.iter().filter_map(|r| r.judge(&case, &outcome.result)));
        outcome.forget();
        if let Ok(mut outcomes) = run.outcomes.lock() {
            outcomes.push(outcome);
        }
        if stories.is_empty() { Ok(()) } else { Err(Failed::from(stories.join("\n"))) }
    });
    match lack {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}
