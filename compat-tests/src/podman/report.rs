//! Verdicts, for people and for programs.

use serde::Serialize;

use super::outcome::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Same,
    /// They differ, and that is known and meant.
    DiffersAsKnown {
        why: String,
        link: String,
    },
    Different {
        diff: String,
    },
    /// A known difference that did not show.
    Stale {
        why: String,
    },
    /// The case does not do what it says, with that monitor.
    NotAsExpected {
        monitor: &'static str,
        missing: Vec<String>,
    },
    Skipped {
        reason: String,
    },
    /// The case could not be run at all.
    Broken {
        reason: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub case: String,
    pub why: String,
    pub seconds: f64,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub reference: Option<Outcome>,
    pub candidate: Option<Outcome>,
}

impl Row {
    #[must_use]
    pub fn failed(&self) -> bool {
        !matches!(
            self.verdict,
            Verdict::Same | Verdict::DiffersAsKnown { .. } | Verdict::Skipped { .. }
        )
    }

    /// One line, and what is needed to understand a failure.
    #[must_use]
    pub fn text(&self) -> String {
        let head = |word: &str| format!("{word:<10} {} ({:.1} s)", self.case, self.seconds);
        match &self.verdict {
            Verdict::Same => head("same"),
            Verdict::DiffersAsKnown { why, link } => format!("{}: {why} ({link})", head("known")),
            Verdict::Different { diff } => {
                format!("{}\n  {}\n{}", head("DIFFERENT"), self.why, indent(diff))
            }
            Verdict::Stale { why } => format!("{}: no difference any more: {why}", head("STALE")),
            Verdict::NotAsExpected { monitor, missing } => {
                let mut text = format!("{} with the {monitor}; missing:\n", head("UNEXPECTED"));
                text.push_str(&indent(&(missing.join("\n") + "\n")));
                let outcome =
                    if *monitor == "reference" { &self.reference } else { &self.candidate };
                if let Some(outcome) = outcome {
                    let all = format!(
                        "{}\nstdout:\n{}stderr:\n{}",
                        outcome.end, outcome.stdout, outcome.stderr
                    );
                    text.push_str(&indent(&all));
                }
                text
            }
            Verdict::Skipped { reason } => format!("{:<10} {}: {reason}", "skipped", self.case),
            Verdict::Broken { reason } => format!("{}: {reason}", head("BROKEN")),
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The rows as JUnit XML, under the name of their suite.
#[must_use]
pub fn junit(suite: &str, rows: &[Row]) -> String {
    let failed = rows.iter().filter(|row| row.failed()).count();
    let skipped = rows.iter().filter(|row| matches!(row.verdict, Verdict::Skipped { .. })).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n",
        rows.len()
    );
    for row in rows {
        let (area, name) = row.case.split_once('/').unwrap_or((suite, &row.case));
        xml.push_str(&format!(
            "<testcase classname=\"{suite}.{area}\" name=\"{name}\" time=\"{:.3}\">",
            row.seconds
        ));
        match &row.verdict {
            Verdict::Skipped { reason } => {
                xml.push_str(&format!("<skipped message=\"{}\"/>", quote(reason)))
            }
            _ if row.failed() => {
                xml.push_str(&format!("<failure>{}</failure>", quote(&row.text())))
            }
            _ => {}
        }
        xml.push_str("</testcase>\n");
    }
    xml + "</testsuite>\n"
}

fn quote(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_difference_is_no_failure_but_a_stale_one_is() {
        let row = |verdict| Row {
            case: "a/b".into(),
            why: String::new(),
            seconds: 0.0,
            verdict,
            reference: None,
            candidate: None,
        };
        assert!(!row(Verdict::DiffersAsKnown { why: String::new(), link: String::new() }).failed());
        assert!(row(Verdict::Stale { why: String::new() }).failed());
        let xml = junit("podman", &[row(Verdict::Broken { reason: "<&>".into() })]);
        assert!(xml.contains("failures=\"1\"") && xml.contains("&lt;&amp;&gt;"), "{xml}");
    }
}
