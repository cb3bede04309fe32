//! Telling what came of a run: to people and to programs. No report knows from which table a case is.

pub mod about;
pub mod groups;
pub mod html;
pub mod machine;
pub mod text;

use std::collections::BTreeMap;

use crate::case::{Comparison, Outcome};
use crate::verdict::stale::Stale;
use about::About;

/// A run that is over.
pub struct Run<'a> {
    pub comparison: &'a Comparison,
    pub outcomes: &'a [Outcome],
    /// Known divergences that did not show.
    pub stale: &'a [Stale<'a>],
    pub about: &'a About,
    /// Where the links to the rules lead.
    pub specification: &'a str,
}

/// Counts by area, for the summary.
pub fn by_area(outcomes: &[Outcome]) -> BTreeMap<String, BTreeMap<&'static str, usize>> {
    let mut areas: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for outcome in outcomes {
        let area = outcome.case.area().to_string();
        *areas.entry(area).or_default().entry(outcome.word()).or_default() += 1;
    }
    areas
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Result, bail};
    use serde_json::json;

    use crate::case::{Case, CaseResult, Comparison, Judged, Outcome, Side};
    use crate::host::Host;
    use crate::host::subject::Subject;
    use crate::verdict::diff::Difference;
    use crate::verdict::{Seen, Verdict};

    struct Told;

    impl Case for Told {
        fn name(&self) -> &str {
            "area/<case>"
        }

        fn why(&self) -> &str {
            "because"
        }

        fn lack(&self, _host: &Host) -> Option<String> {
            None
        }

        fn observe(&self, _: &Subject, _: Side, _: &Comparison) -> Result<Seen> {
            bail!("it is only told of")
        }

        fn play(&self, _: &Comparison) -> Result<Judged> {
            bail!("it is only told of")
        }
    }

    pub fn difference(path: &str, reference: &str, candidate: &str) -> Difference {
        let [reference, candidate] = [reference, candidate].map(|text| Some(json!(text)));
        Difference { path: path.to_owned(), reference, candidate }
    }

    pub fn judged(verdict: Verdict) -> Outcome {
        let judged = Judged { verdict, reference: None, candidate: Seen::default() };
        let (case, took) = (Arc::new(Told), Duration::ZERO);
        Outcome { case, result: CaseResult::Judged(judged), took }
    }

    pub fn failing(unexpected: Vec<Difference>) -> Outcome {
        judged(Verdict { unexpected, ..Verdict::default() })
    }
}
