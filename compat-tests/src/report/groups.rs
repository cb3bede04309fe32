//! What differs, told once: hundreds of runs often fail for the same few reasons.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{CaseResult, Judged, Outcome};
use crate::observation::DEADLINE;
use crate::verdict::diff::{self, Difference, Tag};

/// Changed places of one field that are still told apart.
const PLACES: usize = 4;

/// The same thing wrong in one or many runs.
pub struct Group<'a> {
    /// Where, with `*` for what differs from case to case; or what had to hold.
    pub what: String,
    /// The first of them.
    pub example: Option<&'a Difference>,
    pub outcomes: Vec<&'a Outcome>,
}

/// What is wrong, the most frequent first.
#[must_use]
pub fn groups(outcomes: &[Outcome]) -> Vec<Group<'_>> {
    let mut order: Vec<Group<'_>> = Vec::new();
    let mut known: BTreeMap<Mark, usize> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_good()) {
        for (mark, example) in marked(outcome) {
            let what = mark.0.clone();
            let at = *known.entry(mark).or_insert_with(|| {
                order.push(Group { what, example, outcomes: Vec::new() });
                order.len() - 1
            });
            let group = &mut order[at].outcomes;
            if !group.last().is_some_and(|last| std::ptr::eq(*last, outcome)) {
                group.push(outcome);
            }
        }
    }
    order.sort_by_key(|group| std::cmp::Reverse(group.outcomes.len()));
    order
}

/// What makes two findings the same: the place, what it loses there, and what it gains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String, String, String);

/// What is wrong with an outcome.
#[must_use]
pub fn marks(outcome: &Outcome) -> BTreeSet<Mark> {
    marked(outcome).into_iter().map(|(mark, _)| mark).collect()
}

fn marked(outcome: &Outcome) -> Vec<(Mark, Option<&Difference>)> {
    let in_words = |text: &str| (Mark(said(text), String::new(), String::new()), None);
    match &outcome.result {
        CaseResult::Skipped(_) => Vec::new(),
        CaseResult::Broken(reason) => vec![in_words(reason)],
        CaseResult::Judged(Judged { verdict, .. }) => {
            let differences = verdict.unexpected.iter();
            let differences = differences.flat_map(|difference| {
                of_difference(difference).into_iter().map(move |mark| (mark, Some(difference)))
            });
            verdict.broken.iter().map(|text| in_words(text)).chain(differences).collect()
        }
    }
}

/// The marks of one difference.
#[must_use]
pub fn of_difference(difference: &Difference) -> BTreeSet<Mark> {
    let place = general(&difference.path);
    let changes = changes(difference);
    if changes.len() > PLACES {
        let (lost, gained): (Vec<String>, Vec<String>) = changes.into_iter().unzip();
        return BTreeSet::from([Mark(place, lost.join("\n"), gained.join("\n"))]);
    }
    changes.into_iter().map(|(lost, gained)| Mark(place.clone(), lost, gained)).collect()
}

/// The changed parts of the changed lines, each once.
fn changes(difference: &Difference) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let (mut lost, mut gained) = (Vec::new(), Vec::new());
    let mut close = |lost: &mut Vec<String>, gained: &mut Vec<String>| {
        for at in 0..lost.len().max(gained.len()) {
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            found.insert(differing_part(&line(lost), &line(gained)));
        }
        lost.clear();
        gained.clear();
    };
    for shown in diff::show(difference) {
        match shown.tag {
            Tag::Reference => lost.push(shown.text),
            Tag::Candidate => gained.push(shown.text),
            Tag::Same | Tag::Gap => close(&mut lost, &mut gained),
        }
    }
    close(&mut lost, &mut gained);
    found
}

/// Two lines without what they have in common at both ends.
fn differing_part(lost: &str, gained: &str) -> (String, String) {
    let (mut a, mut b): (Vec<char>, Vec<char>) = (lost.chars().collect(), gained.chars().collect());
    let front = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    a.drain(..front);
    b.drain(..front);
    while !a.is_empty() && a.last() == b.last() {
        a.pop();
        b.pop();
    }
    (a.into_iter().collect(), b.into_iter().collect())
}

/// A path with `*` for names and numbers that differ from case to case.
fn general(path: &str) -> String {
    let mut before = "";
    let words = path.split('.').map(|word| {
        let named =
            matches!(before, "monitors" | "clients" | "containers" | "look" | "files" | "events");
        let number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        before = word;
        if named || number { "*" } else { word }
    });
    words.collect::<Vec<_>>().join(".")
}

/// What did not hold, in a line that is the same for all cases in which the same did not hold.
fn said(text: &str) -> String {
    let line = first_line(text);
    let (side, rest) = line.split_once(": ").unwrap_or(("", line));
    if let Some(step) = rest.strip_prefix(DEADLINE) {
        let step = step.split_once(": ").map_or(step, |(_, step)| step);
        return format!("{side}: does not come to an end at `{step}`");
    }
    match rest.split_once(' ') {
        Some((path, rest)) if path.contains('.') => format!("{side}: {} {rest}", general(path)),
        _ => line.to_owned(),
    }
}

/// The line that says what is wrong; the state of what hangs follows it.
#[must_use]
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{difference, failing};

    #[test]
    fn the_same_difference_in_many_runs_is_told_once() {
        let outcomes: Vec<Outcome> = (0..100)
            .map(|number| {
                let line = format!("line {number}");
                failing(vec![
                    difference(
                        &format!("monitors.m{number}.launch.stderr"),
                        &format!("[conmon:e] {line}"),
                        &format!("[conmon:e]: {line}"),
                    ),
                    difference(&format!("runtime.{number}.umask"), "0022", "0077"),
                ])
            })
            .collect();
        let groups = groups(&outcomes);
        let told: Vec<_> = groups.iter().map(|g| (g.what.as_str(), g.outcomes.len())).collect();
        assert_eq!(told, [("monitors.*.launch.stderr", 100), ("runtime.*.umask", 100)]);
    }

    #[test]
    fn other_differences_of_the_same_field_stay_apart() {
        let outcomes = [
            failing(vec![difference("logs.main.mode", "0640", "0600")]),
            failing(vec![difference("logs.main.mode", "0640", "0644")]),
            failing(vec![difference("logs.main.mode", "0640", "0600")]),
        ];
        let counts: Vec<_> = groups(&outcomes).iter().map(|g| g.outcomes.len()).collect();
        assert_eq!(counts, [2, 1]);
    }

    #[test]
    fn what_does_not_hold_is_told_without_what_differs_from_case_to_case() {
        for (text, expected) in [
            (
                "candidate: deadline at step 3: wait exit\nmain status: State: S",
                "candidate: does not come to an end at `wait exit`",
            ),
            (
                "candidate: monitors.one.end is \"a\"; expected \"b\"",
                "candidate: monitors.*.end is \"a\"; expected \"b\"",
            ),
            ("out of processes", "out of processes"),
        ] {
            assert_eq!(said(text), expected);
        }
    }

    #[test]
    fn the_most_frequent_comes_first_and_a_run_counts_once() {
        let rare = failing(vec![difference("a.rare", "x", "y")]);
        let often = || {
            failing(vec![
                difference("runtime.0.umask", "1", "2"),
                difference("runtime.1.umask", "1", "2"),
            ])
        };
        let outcomes = [rare, often(), often()];
        let told: Vec<_> =
            groups(&outcomes).iter().map(|g| (g.what.clone(), g.outcomes.len())).collect();
        assert_eq!(told, [("runtime.*.umask".to_owned(), 2), ("a.rare".to_owned(), 1)]);
    }

    #[test]
    fn a_few_places_of_a_field_are_told_apart_and_many_are_not() {
        let lines = |word: &str, count: usize| -> String {
            (1..=count).map(|times| format!("{}\\n=\\n", word.repeat(times))).collect()
        };
        for (count, marks) in [(1, 1), (PLACES, PLACES), (PLACES + 1, 1)] {
            let difference = difference("a.b", &lines("ab", count), &lines("cd", count));
            assert_eq!(of_difference(&difference).len(), marks, "{count}");
        }
    }

    #[test]
    fn names_that_differ_from_case_to_case_are_left_out_of_a_path() {
        for (path, expected) in [
            ("monitors.one.look.late.stdio.3", "monitors.*.look.*.stdio.*"),
            ("clients.a.end", "clients.*.end"),
            ("containers.main", "containers.*"),
            ("files.created.bundle/attach", "files.*.bundle/attach"),
            ("events.logs", "events.*"),
        ] {
            assert_eq!(general(path), expected);
        }
    }
}
