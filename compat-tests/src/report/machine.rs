//! The reports for programs: TAP, JUnit XML and JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::{Run, text};
use crate::case::{CaseResult, Judged, Outcome};
use crate::verdict::diff::{self, Difference, Tag};

/// Characters of each side in a message of a line.
const WIDTH: usize = 120;

/// What went wrong, without colours.
fn problem(outcome: &Outcome) -> String {
    console::strip_ansi_codes(&text::story(outcome, &[])).into_owned()
}

/// How the Test Anything Protocol begins.
pub const TAP: &str = "TAP version 13";

/// A test point of the Test Anything Protocol, told as soon as it is there; the plan comes last.
pub fn tap(number: usize, outcome: &Outcome) -> String {
    let ok = if outcome.is_good() { "ok" } else { "not ok" };
    let mut out = format!("{ok} {number} - {}", outcome.case.key());
    if let CaseResult::Skipped(reason) = &outcome.result {
        let _ = write!(out, " # SKIP {}", reason.replace('\n', " "));
    }
    out.push('\n');
    if !outcome.is_good() {
        for line in problem(outcome).lines() {
            let _ = writeln!(out, "# {line}");
        }
    }
    out
}

/// What follows the last test point: entries that are stale, the plan, and why the run ended before its time.
pub fn tap_end(run: &Run<'_>, stopped: Option<&str>) -> String {
    let Run { outcomes, stale, .. } = run;
    let mut out = String::new();
    for (number, stale) in (outcomes.len() + 1..).zip(*stale) {
        // A hash would begin a directive.
        let why = format!("{}: {}", stale.place(), stale.entry.why)
            .replace('#', "\\#")
            .replace('\n', " ");
        let _ = writeln!(out, "not ok {number} - stale divergence: {why}");
    }
    let _ = writeln!(out, "1..{}", outcomes.len() + stale.len());
    if let Some(reason) = stopped {
        let _ = writeln!(out, "Bail out! {reason}");
    }
    out
}

/// JUnit XML, as CI systems read it: a suite for each area.
///
/// # Errors
///
/// It cannot be put into XML.
pub fn junit(run: &Run<'_>) -> Result<String> {
    let mut areas: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in run.outcomes {
        areas.entry(outcome.case.area()).or_default().push(outcome);
    }
    let mut report = Report::new("conmon-compat");
    for (area, outcomes) in areas {
        let mut suite = TestSuite::new(area);
        suite.add_property(("reference", run.comparison.reference.label().as_str()));
        suite.add_property(("candidate", run.comparison.candidate.label.as_str()));
        for (word, text) in run.about {
            suite.add_property((*word, text.as_str()));
        }
        suite.add_test_cases(outcomes.into_iter().map(test_case));
        report.add_test_suite(suite);
    }
    if !run.stale.is_empty() {
        let mut suite = TestSuite::new("divergences");
        for stale in run.stale {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message("did not show").set_description(stale.entry.why.as_str());
            suite.add_test_case(TestCase::new(stale.place(), status));
        }
        report.add_test_suite(suite);
    }
    report.to_string().context("the JUnit report")
}

fn test_case(outcome: &Outcome) -> TestCase {
    let status = match &outcome.result {
        CaseResult::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        CaseResult::Broken(reason) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(reason.as_str());
            status
        }
        CaseResult::Judged(judged) if !judged.verdict.is_good() => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(first_difference(judged)).set_description(problem(outcome));
            status
        }
        CaseResult::Judged(_) => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(outcome.case.key(), status);
    case.set_classname(outcome.case.area()).set_time(outcome.took);
    case
}

/// The first thing that is wrong, in a line.
fn first_difference(judged: &Judged) -> String {
    let verdict = &judged.verdict;
    let broken = verdict.broken.first().and_then(|text| text.lines().next()).map(str::to_owned);
    broken.unwrap_or_else(|| {
        let first = verdict.unexpected.first();
        first.map_or_else(String::new, in_a_line)
    })
}

/// A difference by its place and the first line that each side has alone.
fn in_a_line(difference: &Difference) -> String {
    let lines = diff::show(difference);
    let alone = |side: Tag| {
        let line = lines.iter().find(|line| line.tag == side).map_or("nothing", |line| &line.text);
        line.chars().take(WIDTH).collect::<String>()
    };
    let (reference, candidate) = (alone(Tag::Reference), alone(Tag::Candidate));
    format!("{}: the reference has `{reference}`, the candidate `{candidate}`", difference.path)
}

/// Everything, observations included.
pub fn json(run: &Run<'_>) -> Value {
    let comparison = run.comparison;
    let list: Vec<Value> = run
        .outcomes
        .iter()
        .map(|outcome| {
            let mut entry = json!({
                "case": outcome.case.name(),
                "runtime": outcome.case.runtime(),
                "outcome": outcome.word(),
                "milliseconds": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
            });
            match &outcome.result {
                CaseResult::Skipped(reason) | CaseResult::Broken(reason) => {
                    entry["reason"] = json!(reason);
                }
                CaseResult::Judged(Judged { verdict, reference, candidate }) => {
                    entry["unexpected"] = json!(verdict.unexpected);
                    entry["broken"] = json!(verdict.broken);
                    entry["explained"] = verdict
                        .explained
                        .iter()
                        .map(|(difference, index)| {
                            json!({"difference": difference, "why": comparison.known[*index].why,
                                   "doc": comparison.known[*index].doc})
                        })
                        .collect();
                    entry["reference"] = json!(reference.as_ref().map(|seen| &seen.value));
                    entry["candidate"] = json!(candidate.value);
                }
            }
            entry
        })
        .collect();
    let about: BTreeMap<&str, &String> =
        run.about.iter().map(|(word, text)| (*word, text)).collect();
    json!({
        "reference": comparison.reference.label(),
        "candidate": comparison.candidate.label,
        "about": about,
        "outcomes": list,
        "stale": run.stale.iter().map(|stale| format!("{}: {}", stale.place(), stale.entry.why)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{difference, failing, judged, not_judged, with_run};
    use crate::verdict::Verdict;

    #[test]
    fn a_failure_says_the_first_difference() {
        let outcome = failing(vec![difference("a.b", "same\\nold\\n", "same\\nnew\\n")]);
        let CaseResult::Judged(judged) = &outcome.result else { panic!() };
        let expected = "a.b: the reference has `old\\n`, the candidate `new\\n`";
        assert_eq!(first_difference(judged), expected);
    }

    #[test]
    fn a_test_point_is_a_line() {
        let outcome = not_judged(CaseResult::Skipped("no\ncriu".into()));
        assert_eq!(tap(3, &outcome), "ok 3 - area/<case> # SKIP no criu\n");
        assert!(tap(4, &failing(vec![difference("a.b", "x", "y")])).starts_with("not ok 4 - "));
    }

    #[test]
    fn stale_entries_are_test_points_after_the_last_case_and_in_the_plan() {
        let outcomes = [judged(Verdict::default()), judged(Verdict::default())];
        let end = with_run(&outcomes, true, |run| tap_end(run, Some("stopped")));
        let (first, rest) = end.split_once('\n').unwrap();
        assert!(first.starts_with("not ok 3 - stale divergence: a/b: p: w \\# x"), "{end}");
        assert_eq!(rest, "1..3\nBail out! stopped\n");
        assert_eq!(with_run(&outcomes, false, |run| tap_end(run, None)), "1..2\n");
    }

    #[test]
    fn a_suite_that_failed_itself_is_an_error_and_a_stale_entry_a_failure() {
        let outcomes = [
            not_judged(CaseResult::Broken("no world".into())),
            not_judged(CaseResult::Skipped("no criu".into())),
            failing(vec![difference("a.b", "x", "y")]),
        ];
        let xml = with_run(&outcomes, true, |run| junit(run).unwrap());
        for part in [
            "<error message=\"no world\"",
            "<skipped message=\"no criu\"",
            "<failure message=\"a.b: ",
            "<failure message=\"did not show\"",
            "<property name=\"kernel\" value=\"6.0 &amp; more\"",
        ] {
            assert_eq!(xml.matches(part).count(), 1, "{part}: {xml}");
        }
        let all = with_run(&outcomes, true, json);
        assert_eq!(all["stale"].as_array().map(Vec::len), Some(1));
        assert_eq!(all["outcomes"][0]["reason"], "no world");
        assert_eq!(all["outcomes"][2]["unexpected"][0]["path"], "a.b");
    }

    #[test]
    fn a_message_of_a_line_stays_one() {
        let outcome = failing(vec![difference("a.b", &"x".repeat(1000), "y")]);
        let CaseResult::Judged(judged) = &outcome.result else { panic!() };
        let message = first_difference(judged);
        assert!(message.contains(&"x".repeat(WIDTH)), "{message}");
        assert!(!message.contains(&"x".repeat(WIDTH + 1)), "{message}");
    }
}
