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

    use super::Run;
    use crate::case::fake::comparison;
    use crate::case::{Case, CaseResult, Comparison, Judged, Outcome, Side};
    use crate::host::Host;
    use crate::host::subject::Subject;
    use crate::verdict::diff::Difference;
    use crate::verdict::stale::Stale;
    use crate::verdict::{Seen, Verdict, parse};

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

    pub fn not_judged(result: CaseResult) -> Outcome {
        Outcome { result, ..judged(Verdict::default()) }
    }

    /// Hands a run of these outcomes on; with an entry that did not show, or without.
    pub fn with_run<T>(outcomes: &[Outcome], stale: bool, told: impl Fn(&Run<'_>) -> T) -> T {
        let known = "[[divergence]]\nscenario='a/b'\nkind='defect'\nwhy='w # x y'\ndoc='d'\npath='p'\nfrom='a'\nto='b'\n";
        let known = parse(known).unwrap();
        let idle = vec!["a/b"];
        let stale: Vec<Stale<'_>> = known
            .iter()
            .filter(|_| stale)
            .map(|entry| Stale { entry, idle: idle.clone() })
            .collect();
        let (comparison, about) =
            (comparison(Vec::new()), vec![("kernel", "6.0 & more".to_owned())]);
        let (stale, about) = (stale.as_slice(), &about);
        told(&Run { comparison: &comparison, outcomes, stale, about, specification: "docs" })
    }

    pub fn failing(unexpected: Vec<Difference>) -> Outcome {
        judged(Verdict { unexpected, ..Verdict::default() })
    }
}
