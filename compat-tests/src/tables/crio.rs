//! CRI-O's table: its cases with the runtimes they are for.

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::case::{self, Comparison, Judged, Side, Table};
use crate::crio::case::{Case, Need, Runtimes};
use crate::crio::cases;
use crate::crio::facts::Facts;
use crate::crio::player;
use crate::crio::request::Request;
use crate::host::subject::Subject;
use crate::host::{self, Host, cgroup};
use crate::scenario::RuntimeKind;
use crate::verdict::{Seen, Unmet};
use crate::world::{keeper, programs};

pub const NAME: &str = "crio";

/// Seconds a single wait may take.
const LIMIT_S: u64 = 20;

/// Seconds it may take under a fault, where many come to nothing.
const LIMIT_UNDER_FAULT_S: u64 = 8;

struct Played {
    case: &'static Case,
    /// The stand-in where the case makes no container.
    kind: RuntimeKind,
    name: String,
}

/// All cases.
#[must_use]
pub fn table(runtimes: &[RuntimeKind]) -> Table {
    let mut cases: Vec<Arc<dyn case::Case>> = Vec::new();
    for case in cases::all() {
        let kinds: &[RuntimeKind] = match case.runtimes {
            Runtimes::Real => &[RuntimeKind::Crun, RuntimeKind::Runc],
            Runtimes::Standin | Runtimes::None => &[RuntimeKind::Standin],
        };
        for kind in kinds.iter().copied() {
            if case.runtimes == Runtimes::None || runtimes.contains(&kind) {
                cases.push(Arc::new(Played { case, kind, name: format!("{NAME}/{}", case.id()) }));
            }
        }
    }
    Table { name: NAME, cases, jobs_per_processor: 2 }
}

impl case::Case for Played {
    fn name(&self) -> &str {
        &self.name
    }

    fn runtime(&self) -> Option<RuntimeKind> {
        (self.case.runtimes != Runtimes::None).then_some(self.kind)
    }

    fn why(&self) -> &str {
        self.case.why
    }

    fn lack(&self, host: &Host) -> Option<String> {
        if self.case.runtimes == Runtimes::Real && host.runtime(self.kind).is_none() {
            return Some(format!("{} is not installed", self.kind));
        }
        self.case.needs.iter().find_map(|need| {
            let reason = match need {
                Need::Memory if !cgroup::has_memory() => "no memory controller",
                Need::Systemd if !host::has_systemd() => "systemd is not the first process",
                Need::Systemd if host::find("busctl").is_none() => "busctl is missing",
                _ => return None,
            };
            Some(reason.to_owned())
        })
    }

    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen> {
        let fault = comparison.fault.as_ref().filter(|_| side == Side::Candidate);
        let request = Request {
            case: self.case.id(),
            runtime: self.kind,
            monitor: monitor.path.clone(),
            tools: programs::tools(&comparison.program, &comparison.host, self.kind)?,
            fault: fault.cloned(),
            limit_s: if fault.is_some() { LIMIT_UNDER_FAULT_S } else { LIMIT_S },
            host_pids: self.case.needs.contains(&Need::Systemd),
            cgroup: String::new(),
        };
        let facts: Facts = keeper::run(&comparison.program, player::COMMAND, &request)?;
        Ok(seen(&facts))
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        comparison.compare(self)
    }
}

/// The facts as fields, `facts.NAME`, and what CRI-O needed and did not get.
fn seen(facts: &Facts) -> Seen {
    let mut unmet = Vec::new();
    for (fact, wanted) in &facts.unmet {
        let found = facts.seen.iter().find(|(name, _)| name == fact);
        let found = found.map_or("absent", |(_, value)| value.as_str());
        let text = format!("{fact} is {found}; CRI-O needs {wanted}");
        unmet.push(Unmet { path: format!("facts.{fact}"), text });
    }
    let mut end = "played".to_owned();
    if let Some(reason) = &facts.ended_early {
        end = format!("ended early: {reason}");
        unmet.push(Unmet { path: "end".to_owned(), text: end.clone() });
    }
    let named = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
    let shown: Map<String, Value> = facts.seen.iter().map(named).collect();
    Seen { value: json!({"end": end, "facts": shown}), unmet }
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use crate::host::traits::Traits;
    use crate::verdict::{self, Divergence, Rules, Verdict};

    fn facts(code: i32) -> Facts {
        let mut facts = Facts::default();
        facts.must("code", code, 3);
        facts.note("mode", code);
        facts
    }

    fn known() -> Vec<Divergence> {
        let text = "[[divergence]]\nscenario = 'crio/a/b'\npath = 'facts.*'\nkind = 'version'\nwhy = 'w'\ndoc = 'd'\nfrom = '*'\nto = '*'\n";
        verdict::parse(text).unwrap()
    }

    fn judge(known: &[Divergence], reference: &Facts, candidate: &Facts) -> Verdict {
        let traits = Traits::of_version(&Version::new(2, 1, 6));
        let rules = Rules {
            name: "crio/a/b",
            runtime: None,
            data: None,
            known,
            reference: &traits,
            equals: false,
        };
        verdict::judge(&rules, Some(&seen(reference)), &seen(candidate))
    }

    #[test]
    fn equal_failures_are_failures() {
        let verdict = judge(&[], &facts(4), &facts(4));
        assert_eq!(verdict.broken.len(), 2, "{verdict:?}");
        assert!(judge(&[], &facts(3), &facts(3)).is_good());
    }

    #[test]
    fn a_fact_that_nobody_needs_is_compared() {
        let mut other = facts(3);
        other.seen[1].1 = "5".to_owned();
        assert_eq!(judge(&[], &facts(3), &other).unexpected.len(), 1);
        let verdict = judge(&known(), &facts(3), &other);
        assert!(verdict.is_good() && verdict.explained.len() == 1, "{verdict:?}");
    }

    #[test]
    fn where_the_reference_is_known_to_be_wrong_only_ours_has_to_be_right() {
        let verdict = judge(&known(), &facts(4), &facts(3));
        assert!(verdict.is_good() && verdict.explained.len() == 2, "{verdict:?}");
        assert!(!judge(&known(), &facts(3), &facts(4)).is_good());
    }

    #[test]
    fn an_early_end_is_a_failure() {
        let mut early = facts(3);
        early.ended_early = Some("no exit".to_owned());
        assert!(!judge(&[], &early, &early).is_good());
    }
}
