//! What a case is, whatever table it is from: what it is called, why it is there, what it needs, how it is played, and what came
//! of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use semver::Version;

use crate::golden::Golden;
use crate::host::Host;
use crate::host::exhaustion::{self, OutOfProcesses};
use crate::host::subject::{Subject, is_ours};
use crate::host::traits::Traits;
use crate::scenario::RuntimeKind;
use crate::stop;
use crate::verdict::stale::{self, Played, Sides, Stale};
use crate::verdict::{self, Divergence, Rules, Seen, Verdict};
use crate::world::programs::Fault;

/// Where the reference's side comes from.
pub enum Source {
    Run(Subject),
    Recorded(Box<Golden>),
}

impl Source {
    pub fn version(&self) -> &Version {
        match self {
            Self::Run(subject) => &subject.version,
            Self::Recorded(golden) => &golden.header.monitor.version,
        }
    }

    pub fn label(&self) -> String {
        match self {
            Self::Run(subject) => format!("{} ({})", subject.path.display(), subject.label),
            Self::Recorded(golden) => golden.label(),
        }
    }
}

/// Two monitors, and everything it takes to compare them.
pub struct Comparison {
    /// This program, which also plays the worlds.
    pub program: PathBuf,
    pub host: Host,
    pub reference: Source,
    /// What the reference does that its version does not tell.
    pub traits: Traits,
    pub candidate: Subject,
    pub known: Vec<Divergence>,
    /// Whether nothing may differ, and what only a good candidate does is not asked for.
    pub equals: bool,
    /// A fault put into the candidate, to see that it is noticed.
    pub fault: Option<Fault>,
    /// Seconds for each run, instead of the cases' own deadlines.
    pub deadline: Option<f64>,
    /// Leaves worlds where they are, for looking into them, where they are directories.
    pub keep_worlds: bool,
}

/// A list of cases that are played alike.
pub struct Table {
    /// What the names of its cases begin with; nothing for scenarios.
    pub name: &'static str,
    pub cases: Vec<Arc<dyn Case>>,
    /// How many suit a machine: most of a case's time is spent waiting.
    pub jobs_per_processor: usize,
}

/// Which of the two a monitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Reference,
    Candidate,
}

/// Something that is played and judged. A table is a list of them.
pub trait Case: Send + Sync {
    /// `AREA/BEHAVIOUR` of a scenario, `TABLE/AREA/BEHAVIOUR` of all others.
    fn name(&self) -> &str;

    /// The runtime it is played with, where there is a choice.
    fn runtime(&self) -> Option<RuntimeKind> {
        None
    }

    /// What somebody would lose if it did not hold.
    fn why(&self) -> &str;

    /// The rules of the specification it shows.
    fn proves(&self) -> &[String] {
        &[]
    }

    /// What it does, for people.
    ///
    /// # Errors
    ///
    /// It cannot be put into words.
    fn story(&self) -> Result<String> {
        Ok(format!("{}\n  {}\n", self.name(), self.why()))
    }

    /// Why this host cannot play it, if so.
    fn lack(&self, host: &Host) -> Option<String>;

    /// Whether a reference of this version does what the case is about; if not, the candidate is judged alone.
    fn is_for(&self, _reference: &Version) -> bool {
        true
    }

    /// Tells what makes the observation from its like, where it can be recorded.
    fn fingerprint(&self) -> Option<&str> {
        None
    }

    /// The file that says what it is, where it has one of its own.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// What a scenario says about judging; other tables say nothing.
    fn judging(&self) -> Option<&crate::scenario::Data> {
        None
    }

    /// Plays it under one monitor.
    ///
    /// # Errors
    ///
    /// The suite's own failures: whatever a monitor does is seen.
    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen>;

    /// Plays it and judges what came.
    ///
    /// # Errors
    ///
    /// As [`Case::observe`].
    fn play(&self, comparison: &Comparison) -> Result<Judged>;

    /// Name and runtime, which no other case has both of.
    fn key(&self) -> String {
        match self.runtime() {
            Some(runtime) => format!("{} {runtime}", self.name()),
            None => self.name().to_owned(),
        }
    }

    /// The name without its last part, for summing up.
    fn area(&self) -> &str {
        self.name().rsplit_once('/').map_or("", |(area, _)| area)
    }
}

/// What came of a case that was played.
#[derive(Clone)]
pub struct Judged {
    pub verdict: Verdict,
    /// Nothing where there is no reference to compare with.
    pub reference: Option<Seen>,
    pub candidate: Seen,
}

/// What came of a case.
#[derive(Clone)]
pub struct Outcome {
    pub case: Arc<dyn Case>,
    pub result: CaseResult,
    pub took: Duration,
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "few exist, none is moved in a loop")]
pub enum CaseResult {
    Skipped(String),
    /// The suite itself failed.
    Broken(String),
    Judged(Judged),
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        match &self.result {
            CaseResult::Skipped(_) => true,
            CaseResult::Broken(_) => false,
            CaseResult::Judged(judged) => judged.verdict.is_good(),
        }
    }

    pub fn is_skipped(&self) -> bool {
        matches!(self.result, CaseResult::Skipped(_))
    }

    /// Of a case that the end of the run came before.
    #[must_use]
    pub fn not_played(case: &Arc<dyn Case>) -> Self {
        let result = CaseResult::Skipped(NOT_PLAYED.to_owned());
        Self { case: case.clone(), result, took: Duration::ZERO }
    }

    pub fn was_played(&self) -> bool {
        !matches!(&self.result, CaseResult::Skipped(reason) if reason == NOT_PLAYED)
    }

    /// Lets what was seen go; the verdict stays.
    pub fn forget(&mut self) {
        if let CaseResult::Judged(judged) = &mut self.result {
            judged.candidate = Seen::default();
            if let Some(reference) = &mut judged.reference {
                *reference = Seen::default();
            }
        }
    }

    /// One word for lists.
    pub fn word(&self) -> &'static str {
        match &self.result {
            CaseResult::Skipped(_) => "skipped",
            CaseResult::Broken(_) => "broken",
            CaseResult::Judged(judged) if !judged.verdict.is_good() => "DIFFERS",
            CaseResult::Judged(judged) if !judged.verdict.explained.is_empty() => "explained",
            CaseResult::Judged(Judged { reference: None, .. }) => "alone",
            CaseResult::Judged(_) => "same",
        }
    }
}

/// What an outcome says when the run was ended before its case was played.
const NOT_PLAYED: &str = "not played: the run was stopped";

/// Every word of [`Outcome::word`], in the order of tables.
pub const WORDS: [&str; 6] = ["same", "explained", "alone", "DIFFERS", "broken", "skipped"];

impl Comparison {
    /// Two monitors, compared as equals if they are the same, both ours or both C programs. Where it matters, a reference that is
    /// run is asked for its traits.
    pub fn new(
        program: PathBuf,
        reference: Source,
        candidate: Subject,
        known: Vec<Divergence>,
    ) -> Self {
        let same = match &reference {
            Source::Run(subject) => subject.is_same(&candidate),
            Source::Recorded(_) => false,
        };
        let equals = same || is_ours(reference.version()) || !candidate.is_ours();
        let traits = match &reference {
            Source::Run(subject) if !equals => Traits::ask(subject),
            Source::Run(subject) => Traits::of_version(&subject.version),
            Source::Recorded(golden) => golden.header.monitor.traits.clone(),
        };
        Self {
            program,
            host: Host::look(),
            reference,
            traits,
            candidate,
            known,
            equals,
            fault: None,
            deadline: None,
            keep_worlds: false,
        }
    }

    /// Plays one case, if this host can.
    pub fn play(&self, case: &Arc<dyn Case>) -> Outcome {
        let began = Instant::now();
        let refused = exhaustion::refusals();
        let result = match case.lack(&self.host).or_else(|| self.void(case.as_ref())) {
            Some(reason) => CaseResult::Skipped(reason),
            None => match case.play(self) {
                // What a monitor does without processes says nothing about it.
                Ok(judged) if !judged.verdict.is_good() && exhaustion::refusals() > refused => {
                    stop::because(stop::Reason::Processes);
                    CaseResult::Broken(OutOfProcesses.to_string())
                }
                Ok(judged) => CaseResult::Judged(judged),
                Err(error) if exhaustion::is_reason(&error) => {
                    stop::because(stop::Reason::Processes);
                    CaseResult::Broken(format!("{OutOfProcesses}: {error}"))
                }
                Err(error) => CaseResult::Broken(format!("{error:#}")),
            },
        };
        Outcome { case: case.clone(), result, took: began.elapsed() }
    }

    /// Why a case is not compared with what was recorded, if so.
    pub fn void(&self, case: &dyn Case) -> Option<String> {
        let Source::Recorded(golden) = &self.reference else { return None };
        if !case.is_for(&self.traits.level) {
            return None;
        }
        let Some((runtime, fingerprint)) = case.runtime().zip(case.fingerprint()) else {
            return Some("void: only scenarios are recorded".into());
        };
        let reason = golden.void(case.name(), runtime, fingerprint)?;
        Some(format!("void: {reason}"))
    }

    /// Judges what was seen of the candidate by what was recorded of the reference.
    ///
    /// # Errors
    ///
    /// The record is not what this program understands.
    pub fn judge(&self, case: &dyn Case, candidate: Seen) -> Result<Judged> {
        let reference = self.recorded(case)?;
        let verdict = verdict::judge(&self.rules(case), reference.as_ref(), &candidate);
        Ok(Judged { verdict, reference, candidate })
    }

    fn recorded(&self, case: &dyn Case) -> Result<Option<Seen>> {
        match (&self.reference, case.runtime()) {
            (Source::Recorded(golden), Some(runtime)) if case.is_for(&self.traits.level) => {
                Ok(Some(Seen::of(&golden.seen(case.name(), runtime)?)?))
            }
            _ => Ok(None),
        }
    }

    /// How most cases are played: under both monitors, and what was seen compared.
    ///
    /// A reference that loses something once in hundreds of runs says nothing about the candidate: if it does not do what the
    /// case says, it is asked once more. The candidate never is.
    ///
    /// # Errors
    ///
    /// The suite's own failures.
    pub fn compare(&self, case: &dyn Case) -> Result<Judged> {
        let rules = self.rules(case);
        let reference = match &self.reference {
            _ if !case.is_for(&self.traits.level) => None,
            Source::Run(subject) => {
                let observe = || case.observe(subject, Side::Reference, self);
                let seen = observe()?;
                match verdict::missed(&rules, &seen) {
                    missed if missed.is_empty() => Some(seen),
                    missed => {
                        let (key, missed) = (case.key(), missed.join("; "));
                        eprintln!("{key}: reference: {missed}; once more");
                        Some(observe()?)
                    }
                }
            }
            Source::Recorded(_) => self.recorded(case)?,
        };
        let candidate = case.observe(&self.candidate, Side::Candidate, self)?;
        let verdict = verdict::judge(&rules, reference.as_ref(), &candidate);
        Ok(Judged { verdict, reference, candidate })
    }

    /// What to judge a case by.
    pub fn rules<'a>(&'a self, case: &'a dyn Case) -> Rules<'a> {
        Rules {
            name: case.name(),
            runtime: case.runtime(),
            data: case.judging(),
            known: &self.known,
            reference: &self.traits,
            equals: self.equals,
        }
    }

    /// What of the known divergences should have shown in these outcomes and did not; `complete` where every case was played.
    pub fn stale(&self, outcomes: &[Outcome], complete: bool) -> Vec<Stale<'_>> {
        let cases: Vec<Played<'_>> = outcomes
            .iter()
            .filter_map(|outcome| {
                let (verdict, compared) = match &outcome.result {
                    CaseResult::Judged(judged) => {
                        (Some(&judged.verdict), judged.reference.is_some())
                    }
                    CaseResult::Skipped(_) => (None, false),
                    CaseResult::Broken(_) => return None,
                };
                let case = &outcome.case;
                let (name, runtime, data) = (case.name(), case.runtime(), case.judging());
                Some(Played { name, runtime, data, verdict, compared })
            })
            .collect();
        let sides = Sides {
            reference: &self.traits,
            equals: self.equals,
            candidate_is_ours: self.candidate.is_ours(),
        };
        stale::stale(&self.known, &sides, &cases, complete)
    }
}

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;
