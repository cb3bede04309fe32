//! Telling what came of a run: to people and to programs.

pub mod html;
pub mod machine;
pub mod text;

use std::collections::BTreeMap;

use crate::suite::Outcome;

/// Counts by area, for the summary.
pub fn by_area(outcomes: &[Outcome]) -> BTreeMap<String, BTreeMap<&'static str, usize>> {
    let mut areas: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for outcome in outcomes {
        let area = outcome.task.scenario.area().to_string();
        *areas.entry(area).or_default().entry(outcome.word()).or_default() += 1;
    }
    areas
}
