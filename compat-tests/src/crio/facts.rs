//! What CRI-O noticed, by name, and what it needed and did not get.

use std::fmt::Display;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// The record of one case under one monitor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Names and values, in order; a name occurs once.
    pub seen: Vec<(String, String)>,
    /// Names of facts that are not as CRI-O needs them, each with what it needs.
    pub unmet: Vec<(String, String)>,
    /// Why the case could not be played to its end.
    pub ended_early: Option<String>,
    /// Values that differ from run to run, and the names they go by.
    #[serde(skip)]
    names: Vec<(String, &'static str)>,
}

impl Facts {
    /// The record of a case that could not begin.
    #[must_use]
    pub fn early(error: &anyhow::Error) -> Self {
        Self { ended_early: Some(format!("{error:#}")), ..Self::default() }
    }

    /// From now on `value` goes by `name`.
    pub fn name(&mut self, value: &str, name: &'static str) {
        self.names.push((value.to_owned(), name));
    }

    /// Keeps a fact that is only compared.
    pub fn note(&mut self, fact: impl Into<String>, value: impl Display) {
        let (fact, mut value) = (fact.into(), value.to_string());
        for (known, name) in &self.names {
            value = value.replace(known.as_str(), name);
        }
        if self.seen.iter().any(|(other, _)| *other == fact) {
            self.unmet.push((fact.clone(), "a name of its own".to_owned()));
        }
        self.seen.push((fact, without_times(&value)));
    }

    /// Keeps a fact that CRI-O needs to be `wanted`.
    pub fn must(&mut self, fact: impl Into<String>, value: impl Display, wanted: impl Display) {
        let (fact, value, wanted) = (fact.into(), value.to_string(), wanted.to_string());
        if value != wanted {
            self.unmet.push((fact.clone(), wanted));
        }
        self.note(fact, value);
    }

    /// Keeps a fact that CRI-O needs to hold.
    pub fn holds(&mut self, fact: impl Into<String>, value: bool) {
        self.must(fact, if value { "yes" } else { "no" }, "yes");
    }
}

/// Takes out the times a runtime puts into its messages.
fn without_times(text: &str) -> String {
    let time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)";
    match Regex::new(time) {
        Ok(time) => time.replace_all(text, "[TIME]").into_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_needed() {
        let mut facts = Facts::default();
        facts.must("code", 3, 3);
        facts.must("end", "eof", "reset");
        assert_eq!(facts.unmet, [("end".to_owned(), "reset".to_owned())]);
        assert_eq!(facts.seen.len(), 2);
    }

    #[test]
    fn names_run_to_run_values_and_nothing_else() {
        let mut facts = Facts::default();
        facts.name("conmon-compat-77", "[CGROUP]");
        facts.note("error", "time=\"2026-01-02T03:04:05Z\" in /conmon-compat-77/a: pid 77");
        assert_eq!(facts.seen[0].1, "time=\"[TIME]\" in /[CGROUP]/a: pid 77");
    }

    #[test]
    fn refuses_a_name_given_twice() {
        let mut facts = Facts::default();
        facts.note("a", 1);
        facts.note("a", 1);
        assert_eq!(facts.unmet.len(), 1);
    }
}
