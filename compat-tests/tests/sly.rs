//! The suite notices small faults: each of `faults/sly.toml`, put into the candidate, is reported by
//! the scenario named beside it, judged as ever against the reference and the known divergences.
//!
//! `cargo test -p conmon-compat --test sly [NAME]` ends with the score. A fault with `by` concerns what no
//! scenario can show; the test named there is another's.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program of its own")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail, ensure};
use conmon_compat::case::{Case, CaseResult, Comparison, Source};
use conmon_compat::host::Host;
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::scenario::{RuntimeKind, Scenario};
use conmon_compat::tables::scenarios;
use conmon_compat::verdict;
use conmon_compat::world::programs::Fault;
use libtest_mimic::{Arguments, Failed, Trial};
use once::Memory;
use serde::Deserialize;

#[path = "common/once.rs"]
mod once;
#[path = "common/skip.rs"]
mod skip;

/// Breaks the candidate; empty where it could not be built.
const LIBRARY: &str = env!("CONMON_COMPAT_SLY_FAULTS");

/// Seconds; enough for a run, and little for the faults that end in a wait for ever.
const DEADLINE: f64 = 6.0;

/// The library must not be what is noticed; one scenario of each kind of life.
const CONTROLS: [&str; 8] = [
    "lifecycle/exit_status_is_reported",
    "lifecycle/restore_arguments",
    "attach/stdin_reaches_the_container",
    "attach/terminal_input_is_typed",
    "exec/attached_session_reports_pid_and_status",
    "logging/journald_fields",
    "sdnotify/ready_is_relayed",
    "timeouts/timeout_kills_the_container",
];

#[derive(Deserialize)]
struct List {
    fault: Vec<Sly>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sly {
    name: String,
    /// For whoever reads the list or a failure.
    why: String,
    scenario: Option<String>,
    by: Option<String>,
    r#do: Vec<String>,
}

/// The monitors without a fault; they are asked once what they are.
struct Lab {
    comparison: Comparison,
    reference: Subject,
    memory: Arc<Memory>,
}

impl Lab {
    fn new() -> Result<Self> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_conmon-compat"));
        let (reference, candidate) = named_by_environment(&program);
        let (reference, candidate) = (Subject::check(&reference)?, Subject::check(&candidate)?);
        let known = verdict::load(&here().join("../fixtures/divergences.toml"))?;
        let source = Source::Run(reference.clone());
        let comparison = Comparison::new(program, source, candidate, known);
        Ok(Self { comparison, reference, memory: Arc::default() })
    }

    /// The same monitors, the candidate with a fault.
    fn with(&self, fault: &[String]) -> Comparison {
        let base = &self.comparison;
        Comparison {
            program: base.program.clone(),
            host: base.host.clone(),
            reference: Source::Run(self.reference.clone()),
            traits: base.traits.clone(),
            candidate: base.candidate.clone(),
            known: base.known.clone(),
            equals: false,
            fault: Some(Fault { library: LIBRARY.into(), name: fault.join("\n") }),
            deadline: Some(DEADLINE),
            keep_worlds: false,
        }
    }

    /// Whether the suite reports this fault.
    ///
    /// # Errors
    ///
    /// The suite's own failures.
    fn notices(&self, sly: &Sly, case: &Arc<dyn Case>) -> Result<bool> {
        let comparison = self.with(&sly.r#do);
        let outcome = comparison.play(case);
        match &outcome.result {
            CaseResult::Judged(judged) if !judged.verdict.is_good() => Ok(true),
            CaseResult::Judged(_) => {
                Ok(!comparison.stale(std::slice::from_ref(&outcome), false).is_empty())
            }
            CaseResult::Broken(reason) | CaseResult::Skipped(reason) => bail!("{reason}"),
        }
    }
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The scenario's case, with the first of its runtimes.
fn case(memory: &Arc<Memory>, scenario: &str) -> Result<Arc<dyn Case>> {
    let path = here().join(format!("../fixtures/scenarios/{scenario}.toml"));
    let scenario = Scenario::load(&path).map_err(|refusal| anyhow!("{refusal}"))?;
    let runtime = scenario.data.runtimes.first().copied().unwrap_or(RuntimeKind::Crun);
    Ok(memory.case(scenarios::case(scenario.into(), runtime)))
}

/// A test, ignored where this host cannot play the scenario.
fn trial(
    lab: &Arc<Lab>,
    name: String,
    scenario: &str,
    test: impl FnOnce(&Lab, &Arc<dyn Case>) -> Result<()> + Send + 'static,
) -> Result<Trial> {
    let case = case(&lab.memory, scenario)?;
    let lack = case.lack(&lab.comparison.host);
    let lab = lab.clone();
    let trial = Trial::test(name, move || {
        test(&lab, &case).map_err(|error| Failed::from(format!("{error:#}")))
    });
    Ok(match lack {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    })
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(processors * scenarios::JOBS_PER_PROCESSOR);
    let list: List = toml::from_str(&std::fs::read_to_string(here().join("faults/sly.toml"))?)?;
    let able = nix::unistd::geteuid().is_root()
        && Host::look().crun.is_some()
        && Path::new(LIBRARY).exists();
    if !able {
        skip::skipped("sly faults need root, crun and their library");
        return Ok(ExitCode::SUCCESS);
    }
    let lab = Arc::new(Lab::new()?);
    let elsewhere = list.fault.iter().filter(|sly| sly.by.is_some()).count();
    let (tried, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut trials = Vec::new();
    for sly in list.fault {
        let Some(scenario) = sly.scenario.clone() else { continue };
        let (tried, seen) = (tried.clone(), seen.clone());
        trials.push(trial(&lab, sly.name.clone(), &scenario.clone(), move |lab, case| {
            let noticed = lab.notices(&sly, case)?;
            tried.fetch_add(1, Ordering::Relaxed);
            seen.fetch_add(usize::from(noticed), Ordering::Relaxed);
            ensure!(noticed, "{scenario} says nothing, although {}", sly.why);
            Ok(())
        })?);
    }
    for scenario in CONTROLS {
        let sly = Sly {
            name: format!("nothing in {scenario}"),
            why: "nothing is broken".into(),
            scenario: Some(scenario.into()),
            by: None,
            r#do: vec!["open path=/nowhere mode=0600".into()],
        };
        trials.push(trial(&lab, sly.name.clone(), scenario, move |lab, case| {
            ensure!(!lab.notices(&sly, case)?, "the library itself is noticed");
            Ok(())
        })?);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let (tried, seen) = (tried.load(Ordering::Relaxed), seen.load(Ordering::Relaxed));
    println!(
        "score: {seen} of {tried} faults noticed by the suite; {elsewhere} more are for other tests"
    );
    Ok(conclusion.exit_code())
}
