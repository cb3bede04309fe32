//! A case that plays what it is told, for tests of those who play cases.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, bail};
use semver::Version;
use serde_json::json;

use super::{Case, Comparison, Judged, Side, Source};
use crate::host::Host;
use crate::host::subject::Subject;
use crate::scenario::{Data, Scenario};
use crate::verdict::{Divergence, Seen};

/// Shows the values of a list one after the other, and the last of them from then on.
pub struct Fake {
    name: String,
    judging: Option<Data>,
    reference: Vec<&'static str>,
    candidate: Vec<&'static str>,
    plays: Mutex<Vec<Side>>,
}

impl Fake {
    /// A case whose field `end` is one of these.
    pub fn new(name: &str, reference: &[&'static str], candidate: &[&'static str]) -> Self {
        let (reference, candidate) = (reference.to_vec(), candidate.to_vec());
        Self { name: name.into(), judging: None, reference, candidate, plays: Mutex::default() }
    }

    /// Judges it by these keys of a scenario.
    pub fn judged_by(self, keys: &str) -> Self {
        let text = format!("why = 'x'\nno_container = 'y'\nsteps = ['run']\n{keys}\n");
        let scenario = Scenario::parse(Path::new("area/case.toml"), &text).unwrap();
        Self { judging: Some(scenario.data), ..self }
    }

    /// Whose turns there were.
    pub fn plays(&self) -> Vec<Side> {
        self.plays.lock().unwrap().clone()
    }
}

impl Case for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn why(&self) -> &str {
        "for tests"
    }

    fn lack(&self, _host: &Host) -> Option<String> {
        self.candidate.is_empty().then(|| "nothing to show".to_owned())
    }

    fn is_for(&self, _reference: &Version) -> bool {
        !self.reference.is_empty()
    }

    fn judging(&self) -> Option<&Data> {
        self.judging.as_ref()
    }

    fn observe(&self, _: &Subject, side: Side, _: &Comparison) -> Result<Seen> {
        let mut plays = self.plays.lock().unwrap();
        let turn = plays.iter().filter(|played| **played == side).count();
        plays.push(side);
        drop(plays);
        let ends = if side == Side::Reference { &self.reference } else { &self.candidate };
        match ends.get(turn).or(ends.last()) {
            Some(&"panic") => panic!("of the suite"),
            Some(&"break") => bail!("the world broke"),
            Some(end) => Ok(Seen { value: json!({ "end": end }), unmet: Vec::new() }),
            None => bail!("nobody should look"),
        }
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        comparison.compare(self)
    }
}

/// Ours beside a C program of 2.1.6, neither of which is there.
pub fn comparison(known: Vec<Divergence>) -> Comparison {
    let subject = |name: &str, version: &str| Subject {
        path: PathBuf::from("/nonexistent").join(name),
        version: Version::parse(version).unwrap(),
        label: version.to_owned(),
    };
    let reference = Source::Run(subject("reference", "2.1.6"));
    let candidate = subject("candidate", "2.2.1+rust.1");
    Comparison::new("/nonexistent/suite".into(), reference, candidate, known)
}
