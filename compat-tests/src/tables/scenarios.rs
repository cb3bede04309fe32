//! Scenarios as cases, each with every runtime it is for.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use semver::Version;

use super::story;
use crate::case::{Case, Comparison, Judged, Side, Table};
use crate::driver::player;
use crate::host::Host;
use crate::host::subject::Subject;
use crate::observation::Observation;
use crate::scenario::load::load_all;
use crate::scenario::{Data, RuntimeKind, Scenario};
use crate::verdict::Seen;
use crate::world::keeper;
use crate::world::programs;
use crate::world::request::Request;

pub const NAME: &str = "scenarios";

/// How many suit a processor: most of a scenario's time is spent waiting.
pub const JOBS_PER_PROCESSOR: usize = 4;

struct Played {
    scenario: Arc<Scenario>,
    runtime: RuntimeKind,
}

/// All scenarios below a directory.
///
/// # Errors
///
/// Every file that is refused, with its line and why.
pub fn table(directory: &Path, runtimes: &[RuntimeKind]) -> Result<Table> {
    let scenarios = load_all(directory).map_err(|refusals| {
        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        anyhow!("refused\n{}", all.join("\n"))
    })?;
    let mut cases: Vec<Arc<dyn Case>> = Vec::new();
    for scenario in scenarios {
        let scenario = Arc::new(scenario);
        for runtime in scenario.data.runtimes.iter().copied().filter(|kind| runtimes.contains(kind))
        {
            cases.push(case(scenario.clone(), runtime));
        }
    }
    Ok(Table { name: NAME, cases, jobs_per_processor: JOBS_PER_PROCESSOR })
}

/// One scenario with one runtime.
#[must_use]
pub fn case(scenario: Arc<Scenario>, runtime: RuntimeKind) -> Arc<dyn Case> {
    Arc::new(Played { scenario, runtime })
}

impl Case for Played {
    fn name(&self) -> &str {
        &self.scenario.name
    }

    fn runtime(&self) -> Option<RuntimeKind> {
        Some(self.runtime)
    }

    fn why(&self) -> &str {
        &self.scenario.data.why
    }

    fn proves(&self) -> &[String] {
        &self.scenario.data.rules
    }

    fn story(&self) -> Result<String> {
        story::describe(&self.scenario)
    }

    fn lack(&self, host: &Host) -> Option<String> {
        host.obstacle(&self.scenario, self.runtime)
    }

    fn is_for(&self, reference: &Version) -> bool {
        self.scenario.data.reference.as_ref().is_none_or(|versions| versions.matches(reference))
    }

    fn fingerprint(&self) -> Option<&str> {
        Some(&self.scenario.fingerprint)
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.scenario.path)
    }

    fn judging(&self) -> Option<&Data> {
        Some(&self.scenario.data)
    }

    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen> {
        let fault = comparison.fault.as_ref().filter(|_| side == Side::Candidate);
        let request = Request {
            scenario_path: self.scenario.path.clone(),
            scenario: self.scenario.text.clone(),
            runtime: self.runtime,
            monitor: monitor.path.clone(),
            tools: programs::tools(&comparison.program, &comparison.host, self.runtime)?,
            fault: fault.cloned(),
            deadline: comparison.deadline,
            cgroup: String::new(),
        };
        let observation: Observation = keeper::run(&comparison.program, player::COMMAND, &request)?;
        Seen::of(&observation)
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        comparison.compare(self)
    }
}
