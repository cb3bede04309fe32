//! Faults as cases: those that follow from the recorded lives of one monitor, judged alone.
//!
//! Which cases there are depends on the calls the monitor makes, so the table is read for one monitor and only when it is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::case::{self, Comparison, Judged, Side, Table};
use crate::faults::errnos;
use crate::faults::matrix::{self, Case, role_name};
use crate::faults::outcome::Outcome;
use crate::faults::play::play;
use crate::faults::verdict::{self as life, Verdict};
use crate::host::Host;
use crate::host::subject::Subject;
use crate::verdict::{self, Rules, Seen, Unmet};
use crate::world::programs;

pub const NAME: &str = "faults";

/// The lives of the stage.
const LIVES: [&str; 9] = [
    "k8s-file",
    "journald",
    "terminal",
    "attach",
    "exec",
    "exec-sync",
    "notify",
    "rotation",
    "steady",
];

/// How often a life that went wrong is played again, to tell a steady problem from the machine's.
const REPEATS: usize = 2;

const WHY: &str =
    "a system call that fails must not cost the container's output, its end or the caller's answer";

/// A life as it was without a fault.
struct Life {
    area: String,
    /// The helper program that plays it.
    stage: PathBuf,
    plain: Outcome,
}

struct Played {
    case: Case,
    name: String,
    life: Arc<Life>,
}

/// A life that the monitor does not lead even without a fault.
struct NotLed {
    name: String,
    why: String,
}

/// All faults of a monitor: every call of every life, each way it can fail.
///
/// # Errors
///
/// This host cannot record a life.
pub fn table(program: &Path, monitor: &Path) -> Result<Table> {
    ensure!(cfg!(target_arch = "x86_64"), "faults are put in on x86-64 only");
    ensure!(
        nix::unistd::geteuid().is_root(),
        "to record the lives that faults are put into, run as root"
    );
    let stage = programs::helper(program, "fault-stage")?;
    let mut cases: Vec<Arc<dyn case::Case>> = Vec::new();
    // One after the other: how often a monitor waits depends on how busy the machine is.
    for name in LIVES {
        let plain =
            play(&stage, monitor, name, None).with_context(|| format!("the life {name}"))?;
        let area = format!("{NAME}/{name}");
        match life::judge(&plain, &plain, None) {
            Verdict::Survived => {}
            Verdict::Broken(why) => bail!("the life {name}: {why}"),
            verdict => {
                let said = plain.said.first().cloned().unwrap_or_else(|| format!("{verdict:?}"));
                let why = format!("this monitor does not lead this life: {said}");
                cases.push(Arc::new(NotLed { name: area, why }));
                continue;
            }
        }
        let all = matrix::cases(name, &plain.calls);
        let life = Arc::new(Life { area, stage: stage.clone(), plain });
        cases.extend(all.into_iter().map(|case| {
            let name = format!("{NAME}/{}", case.name());
            Arc::new(Played { case, name, life: life.clone() }) as Arc<dyn case::Case>
        }));
    }
    // While a case waits, another can run.
    Ok(Table { name: NAME, cases, jobs_per_processor: 6 })
}

impl case::Case for Played {
    fn name(&self) -> &str {
        &self.name
    }

    fn why(&self) -> &str {
        WHY
    }

    fn area(&self) -> &str {
        &self.life.area
    }

    fn story(&self) -> Result<String> {
        let fault = &self.case.fault;
        let call = &fault.call;
        let detail =
            if call.detail.is_empty() { String::new() } else { format!(" ({})", call.detail) };
        let lasts = if fault.for_ever { "it and all later ones" } else { "only it" };
        Ok(format!(
            "{}\n  {WHY}\n\nin the life `{}` (helpers/src/fault-stage/lives.rs), call {} of {}{detail} of the {} process\n\
             fails with {}, {lasts}; `strace -f -y -e inject={}:error={}:when={}{}` does the like to one process\n",
            self.name,
            self.case.life,
            call.position,
            call.name,
            role_name(call.role),
            errnos::name(fault.errno),
            call.name,
            errnos::name(fault.errno),
            call.position,
            if fault.for_ever { "+" } else { "" },
        ))
    }

    fn lack(&self, _host: &Host) -> Option<String> {
        None
    }

    fn observe(&self, monitor: &Subject, _side: Side, _comparison: &Comparison) -> Result<Seen> {
        let Case { life, fault } = &self.case;
        let outcome = play(&self.life.stage, &monitor.path, life, Some(fault))?;
        seen(life::judge(&outcome, &self.life.plain, Some(fault)))
    }

    /// The reference has no say: what a monitor owes is known without it.
    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        let monitor = &comparison.candidate;
        let mut rules = comparison.rules(self);
        if !monitor.is_ours() {
            // What is known is known of ours.
            rules.known = &[];
        }
        let observe = || self.observe(monitor, Side::Candidate, comparison);
        judged(&rules, observe()?, observe)
    }
}

impl case::Case for NotLed {
    fn name(&self) -> &str {
        &self.name
    }

    fn why(&self) -> &str {
        WHY
    }

    fn area(&self) -> &str {
        &self.name
    }

    fn lack(&self, _host: &Host) -> Option<String> {
        Some(self.why.clone())
    }

    fn observe(&self, _monitor: &Subject, _side: Side, _comparison: &Comparison) -> Result<Seen> {
        bail!("{}", self.why)
    }

    fn play(&self, _comparison: &Comparison) -> Result<Judged> {
        bail!("{}", self.why)
    }
}

/// The life's end in a word, and what is wrong by its kind.
fn seen(verdict: Verdict) -> Result<Seen> {
    let (end, problems) = match verdict {
        Verdict::NotMet => ("not met", Vec::new()),
        Verdict::Refused => ("refused", Vec::new()),
        Verdict::Survived => ("survived", Vec::new()),
        Verdict::Wrong(problems) => ("wrong", problems),
        Verdict::Broken(why) => bail!("{why}"),
    };
    let unmet = problems.into_iter().map(|text| Unmet { path: kind(&text).to_owned(), text });
    Ok(Seen { value: json!({ "end": end }), unmet: unmet.collect() })
}

/// What stands before the details of a problem.
fn kind(problem: &str) -> &str {
    problem.split(':').next().unwrap_or_default()
}

/// Judges what was seen first. A problem that no repetition shows again is the machine's: it is told and does not count.
fn judged(
    rules: &Rules<'_>,
    mut candidate: Seen,
    again: impl Fn() -> Result<Seen>,
) -> Result<Judged> {
    let mut verdict = verdict::judge(rules, None, &candidate);
    if !verdict.is_good() {
        let mut kinds = Vec::new();
        for _ in 0..REPEATS {
            kinds.extend(again()?.unmet.into_iter().map(|unmet| unmet.path));
        }
        let known = |unmet: &Unmet| {
            let mut explained = verdict.explained.iter();
            explained.any(|(difference, _)| difference.candidate == Some(json!(unmet.text)))
        };
        let steady = |unmet: &Unmet| known(unmet) || kinds.contains(&unmet.path);
        let unsteady = candidate.unmet.iter().filter(|unmet| !steady(unmet));
        let texts: Vec<String> = unsteady.map(|unmet| unmet.text.clone()).collect();
        candidate.unmet.retain(steady);
        if !texts.is_empty() {
            eprintln!("{}: seen once and not again: {}", rules.name, texts.join("; "));
            candidate.value["unsteady"] = json!(texts);
        }
        verdict = verdict::judge(rules, None, &candidate);
    }
    Ok(Judged { verdict, reference: None, candidate })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use semver::Version;

    use super::*;
    use crate::host::traits::Traits;
    use crate::verdict::Divergence;

    const KNOWN: &str = "[[divergence]]\nscenario = 'faults/a/**'\npath = 'lost unsaid'\nkind = 'limit'\nwhy = 'w'\ndoc = 'd'\n\
                         from = '(absent)'\nto = 'lost unsaid: log *'\n";

    fn wrong(problems: &[&str]) -> Seen {
        seen(Verdict::Wrong(problems.iter().map(|problem| (*problem).to_owned()).collect()))
            .unwrap()
    }

    /// Judges a life seen once, and as `again` in each repetition; tells how many there were.
    fn judge(first: &[&str], again: &[&str], equals: bool) -> (Judged, usize) {
        let known: Vec<Divergence> = verdict::parse(KNOWN).unwrap();
        let traits = Traits::of_version(&Version::new(2, 1, 6));
        let rules = Rules {
            name: "faults/a/monitor/read-1/EIO/once",
            runtime: None,
            data: None,
            known: &known,
            reference: &traits,
            equals,
        };
        let repeated = Cell::new(0);
        let repeat = || {
            repeated.set(repeated.get() + 1);
            Ok(wrong(again))
        };
        (judged(&rules, wrong(first), repeat).unwrap(), repeated.get())
    }

    #[test]
    fn a_problem_counts_when_its_kind_shows_again() {
        let (judged, times) = judge(&["spin: 9 calls", "hang: x"], &["spin: 8 calls"], false);
        assert_eq!(judged.verdict.broken, ["candidate: spin: 9 calls"]);
        assert_eq!(judged.candidate.value["unsteady"], json!(["hang: x"]));
        assert_eq!(times, REPEATS);
    }

    #[test]
    fn what_is_known_is_explained_at_once_and_nothing_else_of_its_kind() {
        for equals in [false, true] {
            let (known, times) = judge(&["lost unsaid: log 1"], &[], equals);
            assert!(known.verdict.is_good() && known.verdict.explained.len() == 1);
            assert_eq!(times, 0);
            let both = ["lost unsaid: log 1", "lost unsaid: journal 2"];
            let (other, _) = judge(&both, &["lost unsaid: journal 3"], equals);
            assert_eq!(other.verdict.broken, ["candidate: lost unsaid: journal 2"]);
            assert_eq!(other.verdict.explained.len(), 1);
        }
    }
}
