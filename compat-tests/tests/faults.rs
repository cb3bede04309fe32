//! A slice of the faults: every so-many-th case under our monitor. The whole is `conmon-compat faults`.

#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use conmon_compat::faults::exceptions;
use conmon_compat::faults::run::{Plan, run};
use conmon_compat::faults::tell;
use conmon_compat::faults::verdict::Verdict;
use conmon_compat::host::subject::named_by_environment;
use conmon_compat::world::programs;

/// Of some 4500 cases; small enough for half a minute on two busy cores.
const EVERY: usize = 37;

fn plan(filters: &[&str], every: usize) -> Option<Plan> {
    if !nix::unistd::geteuid().is_root() || cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: faults take root and x86-64");
        return None;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_conmon-compat"));
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/faults.toml");
    Some(Plan {
        stage: programs::helper(program, "fault-stage").unwrap(),
        monitor: named_by_environment(program).1,
        filters: filters.iter().map(ToString::to_string).collect(),
        stride: every,
        jobs: 12,
        exceptions: exceptions::load(&known).unwrap(),
    })
}

#[test]
fn a_slice_of_all_faults_costs_nothing_unsaid() {
    let Some(plan) = plan(&[], EVERY) else { return };
    let results = run(&plan, |_, _| {}).unwrap();
    assert!(results.skipped.is_empty(), "{:?}", results.skipped);
    assert!(results.ran.len() > 60, "{} cases", results.ran.len());
    assert!(results.passed(), "{}", tell::summary(&results));
}

/// The instrument itself: a fault that must be noticed is.
#[test]
fn a_fault_is_met_and_told() {
    let Some(mut plan) = plan(&["k8s-file/child/execve-2/ENOENT/*"], 1) else { return };
    plan.exceptions.clear();
    let results = run(&plan, |_, _| {}).unwrap();
    let problems: Vec<_> = results.ran.iter().flat_map(|ran| &ran.unexplained).collect();
    assert_eq!(problems, ["exit command: ran 0 times"]);
    assert!(matches!(results.ran[0].verdict, Verdict::Wrong(_)));
}
