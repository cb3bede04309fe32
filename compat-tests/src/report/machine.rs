//! The reports for programs: TAP, JUnit XML and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::text;
use crate::suite::{Outcome, Suite, TaskResult};
use crate::verdict::Divergence;

/// What went wrong, without colours.
fn problem(outcome: &Outcome) -> String {
    let text = match &outcome.result {
        TaskResult::Broken(reason) => reason.clone(),
        _ => text::details(outcome, &[], false),
    };
    console::strip_ansi_codes(&text).into_owned()
}

/// Test Anything Protocol, version 13.
pub fn tap(outcomes: &[Outcome], stale: &[&Divergence]) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", outcomes.len() + stale.len());
    for (number, outcome) in (1..).zip(outcomes) {
        let ok = if outcome.is_good() { "ok" } else { "not ok" };
        let _ = write!(out, "{ok} {number} - {}", outcome.task.key());
        if let TaskResult::Skipped(reason) = &outcome.result {
            let _ = write!(out, " # SKIP {reason}");
        }
        out.push('\n');
        if !outcome.is_good() {
            for line in problem(outcome).lines() {
                let _ = writeln!(out, "# {line}");
            }
        }
    }
    for (number, entry) in (outcomes.len() + 1..).zip(stale) {
        let _ = writeln!(out, "not ok {number} - stale divergence: {}", entry.why);
    }
    out
}

/// JUnit XML, as CI systems read it.
pub fn junit(outcomes: &[Outcome], stale: &[&Divergence]) -> String {
    let count = |word: &str| outcomes.iter().filter(|o| o.word() == word).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites><testsuite name=\"conmon-compat\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        outcomes.len() + stale.len(),
        count("DIFFERS") + stale.len(),
        count("broken"),
        count("skipped"),
    );
    for outcome in outcomes {
        let _ = write!(
            out,
            "<testcase classname=\"{}\" name=\"{} ({})\" time=\"{:.3}\">",
            xml(outcome.task.scenario.area()),
            xml(&outcome.task.scenario.name),
            outcome.task.runtime,
            outcome.took.as_secs_f64()
        );
        match (&outcome.result, outcome.is_good()) {
            (TaskResult::Skipped(reason), _) => {
                let _ = write!(out, "<skipped message=\"{}\"/>", xml(reason));
            }
            (TaskResult::Broken(reason), _) => {
                let _ = write!(out, "<error message=\"{}\"/>", xml(reason));
            }
            (_, false) => {
                let text = xml(&problem(outcome));
                let _ = write!(out, "<failure message=\"unexplained difference\">{text}</failure>");
            }
            (_, true) => {}
        }
        out.push_str("</testcase>\n");
    }
    for entry in stale {
        let _ = writeln!(
            out,
            "<testcase classname=\"divergences\" name=\"{}\"><failure message=\"did not show\">{}</failure></testcase>",
            xml(&format!("{} {}", entry.scenario.joined(), entry.path.joined())),
            xml(&entry.why)
        );
    }
    out.push_str("</testsuite></testsuites>\n");
    out
}

/// Escapes text for XML, and drops what XML cannot carry.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if (c as u32) < 0x20 => {}
            c => out.push(c),
        }
    }
    out
}

/// Everything, observations included.
pub fn json(suite: &Suite, outcomes: &[Outcome], stale: &[&Divergence]) -> Value {
    let list: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let mut entry = json!({
                "scenario": outcome.task.scenario.name,
                "runtime": outcome.task.runtime,
                "outcome": outcome.word(),
                "milliseconds": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
            });
            match &outcome.result {
                TaskResult::Skipped(reason) | TaskResult::Broken(reason) => {
                    entry["reason"] = json!(reason);
                }
                TaskResult::Judged { verdict, reference, candidate } => {
                    entry["unexpected"] = json!(verdict.unexpected);
                    entry["broken"] = json!(verdict.broken);
                    entry["explained"] = verdict
                        .explained
                        .iter()
                        .map(|(difference, index)| {
                            json!({"difference": difference, "why": suite.known[*index].why,
                                   "doc": suite.known[*index].doc})
                        })
                        .collect();
                    entry["reference"] = json!(reference);
                    entry["candidate"] = json!(candidate);
                }
            }
            entry
        })
        .collect();
    json!({
        "reference": suite.reference.label(),
        "candidate": suite.candidate.label,
        "outcomes": list,
        "stale": stale.iter().map(|entry| &entry.why).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_text_is_escaped_and_clean() {
        assert_eq!(xml("a<b>&\"\u{1}c\n"), "a&lt;b&gt;&amp;&quot;c\n");
    }
}
