//! The suite notices small faults: each of `faults/sly.toml`, put into the candidate, is reported by
//! the scenario named beside it, judged as ever against the reference and the known divergences.
//!
//! `cargo test -p conmon-compat --test sly [NAME]` ends with the score. A fault with `by` concerns what no
//! scenario can show; the test named there is another's.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conmon_compat::case::{CaseResult, Comparison, Source};
use conmon_compat::host::Host;
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::scenario::{RuntimeKind, Scenario};
use conmon_compat::tables::scenarios;
use conmon_compat::verdict;
use conmon_compat::world::programs::Fault;
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

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

/// Whether the suite reports this fault, nothing where this host cannot play the scenario.
///
/// # Errors
///
/// The suite's own failures.
fn noticed(sly: &Sly, scenario: &str) -> Result<Option<bool>, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join(format!("../fixtures/scenarios/{scenario}.toml"));
    let scenario = Scenario::load(&path).map_err(|refusal| refusal.to_string())?;
    let runtime = match scenario.data.runtimes.first() {
        Some(RuntimeKind::Crun) | None => RuntimeKind::Crun,
        Some(other) => *other,
    };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_conmon-compat"));
    let (reference, candidate) = named_by_environment(&program);
    let subject = |path: &Path| Subject::check(path).map_err(|error| format!("{error:#}"));
    let known = verdict::load(&here.join("../fixtures/divergences.toml"))
        .map_err(|error| format!("{error:#}"))?;
    let reference = Source::Run(subject(&reference)?);
    let mut comparison = Comparison::new(program, reference, subject(&candidate)?, known);
    comparison.equals = false;
    comparison.fault = Some(Fault {
        library: PathBuf::from(env!("CONMON_COMPAT_SLY_FAULTS")),
        name: sly.r#do.join("\n"),
    });
    comparison.deadline = Some(DEADLINE);
    let outcome = comparison.play(&scenarios::case(scenario.into(), runtime));
    match &outcome.result {
        CaseResult::Judged(judged) if !judged.verdict.is_good() => Ok(Some(true)),
        CaseResult::Judged(_) => {
            Ok(Some(!comparison.stale(std::slice::from_ref(&outcome), false).is_empty()))
        }
        CaseResult::Broken(reason) => Err(reason.clone()),
        CaseResult::Skipped(reason) => {
            println!("skipped: {}: {reason:?}", sly.name);
            Ok(None)
        }
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/sly.toml");
    let list: List = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let able = nix::unistd::geteuid().is_root()
        && Host::look().crun.is_some()
        && Path::new(env!("CONMON_COMPAT_SLY_FAULTS")).exists();
    if !able {
        println!("skipped: sly faults need root, crun and their library");
        return;
    }
    let elsewhere = list.fault.iter().filter(|sly| sly.by.is_some()).count();
    let (tried, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let trials: Vec<Trial> = list
        .fault
        .into_iter()
        .filter_map(|sly| {
            let scenario = sly.scenario.clone()?;
            let (tried, seen) = (tried.clone(), seen.clone());
            Some(Trial::test(sly.name.clone(), move || {
                let Some(noticed) = noticed(&sly, &scenario).map_err(Failed::from)? else {
                    return Ok(());
                };
                tried.fetch_add(1, Ordering::Relaxed);
                if noticed {
                    seen.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(format!("{scenario} says nothing, although {}", sly.why).into())
            }))
        })
        .collect();
    let controls = CONTROLS.iter().map(|scenario| {
        let sly = Sly {
            name: format!("nothing in {scenario}"),
            why: "nothing is broken".into(),
            scenario: Some((*scenario).into()),
            by: None,
            r#do: vec!["open path=/nowhere mode=0600".into()],
        };
        Trial::test(sly.name.clone(), move || {
            match noticed(&sly, scenario).map_err(Failed::from)? {
                Some(true) => Err("the library itself is noticed".into()),
                _ => Ok(()),
            }
        })
    });
    let trials = trials.into_iter().chain(controls).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let (tried, seen) = (tried.load(Ordering::Relaxed), seen.load(Ordering::Relaxed));
    println!(
        "score: {seen} of {tried} faults noticed by the suite; {elsewhere} more are for other tests"
    );
    conclusion.exit();
}
