//! One test for each case of every table: the candidate behaves as the reference, except where `fixtures/divergences.toml` knows
//! better. The same cases, judged by the same code, as `conmon-compat run`; entries that no longer show fail it, too.
//!
//! `CONMON_REFERENCE` and `CONMON_CANDIDATE` name other binaries than the distribution's and the workspace's.

#![allow(clippy::print_stderr, reason = "a test program of its own")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use conmon_compat::case::{Case, Comparison, Outcome, Source, Table};
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::report::text;
use conmon_compat::scenario::RuntimeKind;
use conmon_compat::world::keeper;
use conmon_compat::{tables, verdict};
use libtest_mimic::{Arguments, Failed, Trial};

const RUNTIMES: [RuntimeKind; 3] = [RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin];

/// What the tests share.
struct Run {
    comparison: Comparison,
    outcomes: Mutex<Vec<Outcome>>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        let wanted = std::env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = wanted.and_then(|text| text.parse().ok());
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    // Podman has no keeper to do it. There is no other thread yet.
    keeper::hold_controllers()?;
    let run = Arc::new(Run { comparison: comparison()?, outcomes: Mutex::default() });
    let fixtures = fixtures();
    let tables = tables::NAMES.iter().map(|name| tables::table(name, &fixtures, &RUNTIMES));
    let tables: Vec<Table> = tables.collect::<Result<_>>()?;
    let cases = tables.into_iter().flat_map(|table| table.cases);
    let trials: Vec<Trial> = cases.map(|case| trial(&run, case)).collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    keeper::tidy(&run.comparison.program);
    let complete = arguments.filter.is_none() && arguments.skip.is_empty();
    let outcomes = run.outcomes.lock().map_or_else(|_| Vec::new(), |outcomes| outcomes.clone());
    let stale = run.comparison.stale(&outcomes, complete);
    for entry in &stale {
        let (cases, path) = (entry.scenario.joined(), entry.path.joined());
        eprintln!("a known divergence did not show: {cases} {path}: {}", entry.why);
    }
    Ok(!conclusion.has_failed() && stale.is_empty())
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
        let story = text::story(&outcome, &run.comparison.known);
        let good = outcome.is_good();
        outcome.forget();
        if let Ok(mut outcomes) = run.outcomes.lock() {
            outcomes.push(outcome);
        }
        if good { Ok(()) } else { Err(Failed::from(story)) }
    });
    match lack {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}
