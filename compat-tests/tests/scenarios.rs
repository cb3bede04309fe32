//! One test for each scenario and runtime: the candidate behaves as the reference, except where
//! `fixtures/divergences.toml` knows better.
//!
//! `CONMON_REFERENCE` and `CONMON_CANDIDATE` name other binaries than the distribution's and
//! the workspace's. Entries that no longer show are the business of `conmon-compat run`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use conmon_compat::host::Host;
use conmon_compat::host::subject::{Subject, named_by_environment};
use conmon_compat::report::text;
use conmon_compat::scenario::{RuntimeKind, Scenario};
use conmon_compat::suite::{Outcome, Source, Suite, Task, TaskResult};
use conmon_compat::verdict;
use rstest::rstest;

fn suite() -> &'static Suite {
    static SUITE: OnceLock<Suite> = OnceLock::new();
    SUITE.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_conmon-compat"));
        let (reference, candidate) = named_by_environment(&program);
        let subject =
            |path: &Path| Subject::check(path).unwrap_or_else(|error| panic!("{error:#}"));
        let (reference, candidate) = (subject(&reference), subject(&candidate));
        let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/divergences.toml");
        let equals = reference.is_ours() || !candidate.is_ours();
        Suite {
            program,
            host: Host::look(),
            known: if equals { Vec::new() } else { verdict::load(&known).unwrap() },
            reference: Source::Run(reference),
            judge_candidate: !equals,
            candidate,
            fault: None,
            deadline: None,
        }
    })
}

#[rstest]
fn the_candidate_behaves_as_the_reference(
    #[files("../fixtures/scenarios/*/*.toml")] path: PathBuf,
    #[values(RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin)] runtime: RuntimeKind,
) {
    let scenario = Scenario::load(&path).unwrap_or_else(|refusal| panic!("{refusal}"));
    if !scenario.data.runtimes.contains(&runtime) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: worlds need root");
        return;
    }
    let task = Task { scenario: scenario.into(), runtime };
    let outcome = suite().run_one(&task);
    assert!(outcome.is_good(), "{}", story(&outcome));
}

fn story(outcome: &Outcome) -> String {
    match &outcome.result {
        TaskResult::Broken(reason) => reason.clone(),
        _ => text::details(outcome, &suite().known, false),
    }
}
