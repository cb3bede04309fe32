//! How a case is played, and which known divergences should have shown.

use super::fake::{Fake, comparison};
use super::*;
use crate::golden::{self, Monitor, Record};
use crate::host::identity::Identity;
use crate::observation::Observation;
use crate::verdict::parse;

const OF_BOTH: &str = "[[expect]]\nof = 'both'\npath = 'end'\nis = 'good'";

fn words(outcome: &Outcome) -> (&'static str, &[String]) {
    match &outcome.result {
        CaseResult::Judged(judged) => (outcome.word(), &judged.verdict.broken),
        _ => (outcome.word(), &[]),
    }
}

fn play(fake: &Arc<Fake>) -> Outcome {
    let case: Arc<dyn Case> = fake.clone();
    comparison(Vec::new()).play(&case)
}

#[test]
fn a_reference_that_misses_what_is_expected_of_both_is_asked_once_more() {
    use Side::{Candidate, Reference};
    let fake = Arc::new(Fake::new("a/b", &["bad", "good"], &["good"]).judged_by(OF_BOTH));
    assert_eq!(words(&play(&fake)), ("same", &[][..]));
    assert_eq!(fake.plays(), [Reference, Reference, Candidate]);
}

#[test]
fn a_reference_is_asked_twice_at_most() {
    let fake = Arc::new(Fake::new("a/b", &["bad"], &["good"]).judged_by(OF_BOTH));
    let outcome = play(&fake);
    let said = ["reference: end is \"bad\"; expected \"good\"".to_owned()];
    assert_eq!(words(&outcome), ("DIFFERS", &said[..]));
    assert_eq!(fake.plays().len(), 3);
}

#[test]
fn a_candidate_is_never_asked_again() {
    let fake = Arc::new(Fake::new("a/b", &["good"], &["bad", "good"]).judged_by(OF_BOTH));
    let outcome = play(&fake);
    let said = ["candidate: end is \"bad\"; expected \"good\"".to_owned()];
    assert_eq!(words(&outcome), ("DIFFERS", &said[..]));
    assert_eq!(fake.plays(), [Side::Reference, Side::Candidate]);
}

#[test]
fn what_comes_of_a_case_has_a_word() {
    for (reference, candidate, word) in [
        (&["x"][..], &["x"][..], "same"),
        (&["x"], &["y"], "DIFFERS"),
        // No case for a reference of this version.
        (&[], &["y"], "alone"),
        (&["x"], &[], "skipped"),
        (&["break"], &["x"], "broken"),
    ] {
        let fake = Arc::new(Fake::new("a/b", reference, candidate));
        assert_eq!(play(&fake).word(), word, "{reference:?} {candidate:?}");
        assert!(fake.plays().len() <= 2);
    }
}

/// An entry of one name, or of several.
fn entry(scenario: &str, more: &str) -> String {
    format!(
        "[[divergence]]\nscenario = {scenario}\nkind = 'defect'\nwhy = '{}'\ndoc = 'd'\n\
         path = 'end'\nfrom = 'x'\nto = 'y'\n{more}\n",
        scenario.replace('\'', "")
    )
}

/// What is stale after these cases, each with the reference's end and the candidate's.
fn stale(
    entries: &str,
    cases: &[(&str, &[&'static str], &'static str)],
    complete: bool,
) -> Vec<String> {
    let comparison = comparison(parse(entries).unwrap());
    stale_of(&comparison, cases, complete)
}

fn stale_of(
    comparison: &Comparison,
    cases: &[(&str, &[&'static str], &'static str)],
    complete: bool,
) -> Vec<String> {
    let played = cases.iter().map(|(name, reference, candidate)| {
        let case: Arc<dyn Case> = Arc::new(Fake::new(name, reference, &[*candidate]));
        comparison.play(&case)
    });
    let outcomes: Vec<Outcome> = played.collect();
    comparison.stale(&outcomes, complete).iter().map(|stale| stale.entry.why.clone()).collect()
}

#[test]
fn an_entry_that_shows_nowhere_is_stale() {
    let shows = [("a/b", &["x"][..], "y")];
    let silent = [("a/b", &["y"][..], "y")];
    let one = entry("'a/b'", "");
    assert!(stale(&one, &shows, false).is_empty());
    assert_eq!(stale(&one, &silent, false), ["a/b"]);
    // Its case was not played, or there is nothing to compare with.
    assert!(stale(&one, &[("a/c", &["y"], "y")], true).is_empty());
    assert!(stale(&one, &[("a/b", &[], "y")], true).is_empty());
    // It is about other references.
    assert!(stale(&entry("'a/b'", "reference = '>=2.2'"), &silent, true).is_empty());
}

#[test]
fn each_name_counts_for_itself_and_a_pattern_when_all_was_played() {
    let both = [("a/b", &["x"][..], "y"), ("a/c", &["y"][..], "y")];
    assert_eq!(stale(&entry("['a/b', 'a/c']", ""), &both, false), ["[a/b, a/c]"]);
    assert!(stale(&entry("'a/*'", ""), &both, true).is_empty());
    let silent = [("a/c", &["y"][..], "y")];
    assert!(stale(&entry("'a/*'", ""), &silent, false).is_empty());
    assert_eq!(stale(&entry("'a/*'", ""), &silent, true), ["a/*"]);
}

#[test]
fn nothing_is_stale_between_equals_or_where_several_outcomes_are_allowed() {
    let silent = [("a/b", &["y"][..], "y")];
    let mut equals = comparison(parse(&entry("'a/b'", "")).unwrap());
    equals.equals = true;
    assert!(stale_of(&equals, &silent, true).is_empty());
    let allowed = "[[allowed]]\npath = 'end'\nvalues = ['x', 'y']\nwhy = 'a race'";
    let fake: Arc<dyn Case> = Arc::new(Fake::new("a/b", &["y"], &["y"]).judged_by(allowed));
    let comparison = comparison(parse(&entry("'a/b'", "")).unwrap());
    let outcome = comparison.play(&fake);
    assert!(outcome.is_good());
    assert!(comparison.stale(&[outcome], true).is_empty());
}

#[test]
fn a_limit_is_of_ours_alone() {
    let limit = entry("'a/b'", "").replace("'defect'", "'limit'");
    let alone = [("a/b", &[][..], "y")];
    assert_eq!(stale(&limit, &alone, false), ["a/b"]);
    assert!(stale(&limit, &[("a/b", &["y"], "y")], false).is_empty());
    let mut other = comparison(parse(&limit).unwrap());
    other.candidate.version = Version::new(2, 1, 6);
    assert!(stale_of(&other, &alone, false).is_empty());
}

#[test]
fn what_a_recorded_reference_has_no_case_for_is_not_void() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.jsonl");
    let host = Identity::look(&Host::default());
    let mut comparison = comparison(Vec::new());
    let version = Version::new(2, 1, 6);
    let (label, traits) = ("2.1.6".to_owned(), Traits::of_version(&version));
    let monitor = Monitor { version, label, traits };
    let seen = Observation::default();
    let record = Record::new("a/c", RuntimeKind::Crun, "f", &seen).unwrap();
    golden::write(&path, monitor, "r".into(), "2026-01-01".into(), host.clone(), vec![record])
        .unwrap();
    comparison.reference = Source::Recorded(Box::new(Golden::read(&path, &host).unwrap()));
    let void = |reference| comparison.void(&Fake::new("a/b", reference, &["y"]));
    assert_eq!(void(&["x"]).as_deref(), Some("void: only scenarios are recorded"));
    assert_eq!(void(&[]), None);
}
