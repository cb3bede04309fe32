//! The table at work: each case with both monitors, and the verdicts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};

use super::case::{Case, Differs, Need, Runtimes};
use super::facts::Facts;
use super::request::Request;
use super::tasks::Task;
use crate::host::subject::Subject;
use crate::host::{self, Host, cgroup};
use crate::podman::outcome::{self, Outcome};
use crate::podman::report::{Row, Verdict};
use crate::world::programs::Fault;
use crate::world::{keeper, programs};

/// Two monitors, ready to be compared case by case, from any number of threads.
pub struct Table {
    /// Has the hidden commands of the keeper and the player.
    pub program: PathBuf,
    pub host: Host,
    pub reference: Subject,
    pub candidate: Subject,
    /// What is broken in the candidate.
    pub fault: Option<Fault>,
}

/// Seconds a single wait may take.
const LIMIT_S: u64 = 20;

/// Seconds it may take under a fault, where many come to nothing.
const LIMIT_UNDER_FAULT_S: u64 = 8;

impl Table {
    /// # Errors
    ///
    /// We are not root, or one of them is no monitor.
    pub fn new(program: &Path, reference: &Path, candidate: &Path) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("must run as root");
        }
        cgroup::sweep();
        Ok(Self {
            program: program.to_owned(),
            host: Host::look(),
            reference: Subject::check(reference)?,
            candidate: Subject::check(candidate)?,
            fault: None,
        })
    }

    /// Plays one case with both monitors.
    #[must_use]
    pub fn play(&self, task: &Task) -> Row {
        let started = Instant::now();
        let mut row = Row {
            case: task.id(),
            why: task.case.why.to_owned(),
            seconds: 0.0,
            verdict: Verdict::Same,
            reference: None,
            candidate: None,
        };
        if let Some(reason) = lacks(&self.host, task) {
            row.verdict = Verdict::Skipped { reason };
            return row;
        }
        let seen = self.observe(task, &self.reference, None).and_then(|reference| {
            Ok((reference, self.observe(task, &self.candidate, self.fault.as_ref())?))
        });
        row.seconds = started.elapsed().as_secs_f64();
        match seen {
            Err(error) => row.verdict = Verdict::Broken { reason: format!("{error:#}") },
            Ok((reference, candidate)) => {
                let known = self.known(task.case);
                row.verdict = judge(&known, &reference, &candidate);
                row.reference = Some(tell(&reference, &[]));
                row.candidate = Some(tell(&candidate, &[]));
            }
        }
        row
    }

    fn observe(&self, task: &Task, subject: &Subject, fault: Option<&Fault>) -> Result<Facts> {
        let request = Request {
            case: task.case.id(),
            runtime: task.runtime,
            monitor: subject.path.clone(),
            tools: programs::tools(&self.program, &self.host, task.runtime)?,
            fault: fault.cloned(),
            limit_s: if fault.is_some() { LIMIT_UNDER_FAULT_S } else { LIMIT_S },
            host_pids: task.case.needs.contains(&Need::Systemd),
            cgroup: String::new(),
        };
        keeper::run(&self.program, &request)
    }

    /// The differences that must show: between a C program and one of ours.
    fn known(&self, case: &Case) -> Vec<Differs> {
        if self.reference.is_ours() || !self.candidate.is_ours() {
            return Vec::new();
        }
        let version = &self.reference.version;
        case.differs.iter().copied().filter(|differs| differs.applies_to(version)).collect()
    }
}

/// Why a case cannot be played here, if so.
#[must_use]
pub fn lacks(host: &Host, task: &Task) -> Option<String> {
    if task.case.runtimes == Runtimes::Real && host.runtime(task.runtime).is_none() {
        return Some(format!("{} is not installed", task.runtime));
    }
    task.case.needs.iter().find_map(|need| {
        let reason = match need {
            Need::Memory if !cgroup::has_memory() => "no memory controller",
            Need::Systemd if !has_systemd() => "systemd is not the first process",
            _ => return None,
        };
        Some(reason.to_owned())
    })
}

fn has_systemd() -> bool {
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    first.trim_end() == "systemd" && host::find("busctl").is_some()
}

fn judge(known: &[Differs], reference: &Facts, candidate: &Facts) -> Verdict {
    let known_names: Vec<&str> = known.iter().map(|differs| differs.fact).collect();
    // Where the reference is known to be wrong, only ours has to give CRI-O what it needs.
    for (monitor, facts, excused) in
        [("reference", reference, &known_names[..]), ("candidate", candidate, &[][..])]
    {
        let missing = missing(facts, excused);
        if !missing.is_empty() {
            return Verdict::NotAsExpected { monitor, missing };
        }
    }
    let diff = outcome::difference(&tell(reference, &known_names), &tell(candidate, &known_names));
    if !diff.is_empty() {
        return Verdict::Different { diff };
    }
    let value = |facts: &Facts, name: &str| {
        facts.seen.iter().find(|(fact, _)| fact == name).map(|(_, value)| value.clone())
    };
    let stale =
        |differs: &&Differs| value(reference, differs.fact) == value(candidate, differs.fact);
    if let Some(differs) = known.iter().find(stale) {
        return Verdict::Stale { why: format!("{}: {}", differs.fact, differs.why) };
    }
    match known.first() {
        Some(differs) => {
            Verdict::DiffersAsKnown { why: differs.why.to_owned(), link: differs.link.to_owned() }
        }
        None => Verdict::Same,
    }
}

/// What CRI-O needed and did not get.
fn missing(facts: &Facts, excused: &[&str]) -> Vec<String> {
    let unmet = facts.unmet.iter().filter(|(fact, _)| !excused.contains(&fact.as_str()));
    let mut missing: Vec<String> =
        unmet.map(|(fact, wanted)| format!("{fact}: {wanted}")).collect();
    if let Some(reason) = &facts.ended_early {
        missing.push(format!("the case's end, because: {reason}"));
    }
    missing
}

/// The facts as text, in the form of a command's outcome.
fn tell(facts: &Facts, without: &[&str]) -> Outcome {
    let shown = facts.seen.iter().filter(|(fact, _)| !without.contains(&fact.as_str()));
    Outcome {
        end: if facts.ended_early.is_some() { "ended early" } else { "played" }.to_owned(),
        stdout: shown.map(|(fact, value)| format!("{fact}: {value}\n")).collect(),
        stderr: String::new(),
        left: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(code: i32) -> Facts {
        let mut facts = Facts::default();
        facts.must("code", code, 3);
        facts.note("mode", code);
        facts
    }

    const KNOWN: Differs = Differs { fact: "mode", why: "w", link: "l", reference: "*" };

    #[test]
    fn equal_failures_are_failures() {
        let verdict = judge(&[], &facts(4), &facts(4));
        assert!(matches!(verdict, Verdict::NotAsExpected { monitor: "reference", .. }));
    }

    #[test]
    fn a_fact_that_nobody_needs_is_compared() {
        let mut other = facts(3);
        other.seen[1].1 = "5".to_owned();
        assert!(matches!(judge(&[], &facts(3), &other), Verdict::Different { .. }));
        assert!(matches!(judge(&[KNOWN], &facts(3), &other), Verdict::DiffersAsKnown { .. }));
    }

    #[test]
    fn a_known_difference_that_does_not_show_is_stale() {
        assert!(matches!(judge(&[KNOWN], &facts(3), &facts(3)), Verdict::Stale { .. }));
        assert_eq!(judge(&[], &facts(3), &facts(3)), Verdict::Same);
    }

    #[test]
    fn an_early_end_is_a_failure() {
        let mut early = facts(3);
        early.ended_early = Some("no exit".to_owned());
        assert!(matches!(judge(&[], &facts(3), &early), Verdict::NotAsExpected { .. }));
    }
}
