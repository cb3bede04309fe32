//! A slice of the faults: every so-many-th case under our monitor. The whole is `conmon-compat run --table faults`.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

#[path = "common/skip.rs"]
mod skip;

use std::path::Path;
use std::sync::mpsc;

use conmon_compat::case::{CaseResult, Comparison, Outcome, Source, Table};
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::report::text;
use conmon_compat::runner::{self, Pace};
use conmon_compat::tables::{self, faults};
use conmon_compat::verdict::{self, Divergence};
use skip::skipped;

/// Of some 4000 cases; small enough for half a minute on two busy cores.
const EVERY: usize = 37;

const OF_ANOTHER_KIND: &str = "[[divergence]]
scenario = 'faults/*/child/execve-2/**'
path = 'exit command'
kind = 'limit'
why = 'the details are others'
doc = 'd'
from = '(absent)'
to = 'exit command: ran 3 times'
";

/// What is known of ours; nothing to compare with.
fn plan() -> Option<(Comparison, Table)> {
    if !nix::unistd::geteuid().is_root() || cfg!(not(target_arch = "x86_64")) {
        skipped("faults take root and x86-64");
        return None;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_conmon-compat"));
    let monitor = Subject::check(&named_by_environment(program).1).unwrap();
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/faults.toml");
    let known: Vec<Divergence> = verdict::load(&known).unwrap();
    let table = faults::table(program, &monitor.path).unwrap();
    let reference = Source::Run(monitor.clone());
    Some((Comparison::new(program.to_owned(), reference, monitor, known), table))
}

fn play(comparison: &Comparison, table: Table) -> Vec<Outcome> {
    let (sender, receiver) = mpsc::channel();
    runner::run(comparison, &[table], Pace { jobs: None, repeat: 1 }, &sender);
    drop(sender);
    receiver.iter().collect()
}

#[test]
fn a_slice_of_all_faults_costs_nothing_unsaid() {
    let Some((comparison, mut table)) = plan() else { return };
    table.cases = table.cases.into_iter().step_by(EVERY).collect();
    let outcomes = play(&comparison, table);
    assert!(outcomes.len() > 60, "{} cases", outcomes.len());
    let wrong = outcomes.iter().filter(|outcome| !outcome.is_good() || outcome.is_skipped());
    let told: Vec<String> = wrong
        .map(|outcome| {
            format!("{}{}", text::line(outcome), text::story(outcome, &comparison.known))
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// The instrument itself: a fault that must be noticed is, unless it is known.
#[test]
fn a_fault_is_met_and_told() {
    let Some((mut comparison, mut table)) = plan() else { return };
    let filter = "faults/k8s-file/child/execve-2/ENOENT/*";
    table.cases.retain(|case| tables::fits(filter, case.as_ref()));
    let cases = table.cases.clone();
    let outcomes = play(&comparison, table);
    assert_eq!(outcomes.iter().map(Outcome::word).collect::<Vec<_>>(), ["explained"]);
    assert!(comparison.stale(&outcomes, true).is_empty());
    comparison.known = verdict::parse(OF_ANOTHER_KIND).unwrap();
    let table = Table { name: faults::NAME, cases, jobs_per_processor: 1 };
    let outcomes = play(&comparison, table);
    let problems = outcomes.iter().map(|outcome| match &outcome.result {
        CaseResult::Judged(judged) => judged.verdict.broken.join("; "),
        _ => outcome.word().to_owned(),
    });
    assert_eq!(problems.collect::<Vec<_>>(), ["candidate: exit command: ran 0 times"]);
    assert_eq!(comparison.stale(&outcomes, true).len(), 1);
    assert!(comparison.stale(&outcomes, false).is_empty(), "a part of the cases decides nothing");
}
