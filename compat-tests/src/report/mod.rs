//! Telling what came of a run: to people and to programs. No report knows from which table a case is.

pub mod html;
pub mod machine;
pub mod text;

use std::collections::BTreeMap;

use crate::case::{Comparison, Outcome};
use crate::verdict::Divergence;

/// A run that is over.
pub struct Run<'a> {
    pub comparison: &'a Comparison,
    pub outcomes: &'a [Outcome],
    /// Known divergences that did not show.
    pub stale: &'a [&'a Divergence],
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
