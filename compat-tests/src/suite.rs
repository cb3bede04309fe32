//! Running many scenarios: which, in what order, how many at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::host::Host;
use crate::host::subject::Subject;
use crate::observation::Observation;
use crate::scenario::{RuntimeKind, Scenario};
use crate::verdict::{self, Divergence, Rules, Verdict};
use crate::world::keeper;
use crate::world::programs::{self, Fault};
use crate::world::request::Request;

/// Where one side's observations come from.
pub enum Source {
    Run(Subject),
    /// Recorded earlier, by scenario and runtime.
    Recorded {
        version: semver::Version,
        label: String,
        seen: BTreeMap<String, Observation>,
    },
}

impl Source {
    pub fn version(&self) -> &semver::Version {
        match self {
            Self::Run(subject) => &subject.version,
            Self::Recorded { version, .. } => version,
        }
    }

    pub fn label(&self) -> String {
        match self {
            Self::Run(subject) => format!("{} ({})", subject.path.display(), subject.label),
            Self::Recorded { label, .. } => label.clone(),
        }
    }
}

/// Everything a comparison needs.
pub struct Suite {
    /// This program, which also plays the worlds.
    pub program: PathBuf,
    pub host: Host,
    pub reference: Source,
    pub candidate: Subject,
    pub known: Vec<Divergence>,
    /// Whether `expect`s that only a good candidate meets are asked for.
    pub judge_candidate: bool,
    /// A fault put into the candidate, to see that it is noticed.
    pub fault: Option<Fault>,
    /// Seconds for each run, instead of the scenarios' own deadlines.
    pub deadline: Option<f64>,
}

/// One scenario with one runtime.
#[derive(Clone)]
pub struct Task {
    pub scenario: std::sync::Arc<Scenario>,
    pub runtime: RuntimeKind,
}

impl Task {
    pub fn key(&self) -> String {
        format!("{} {}", self.scenario.name, self.runtime)
    }
}

/// What came of a task.
#[derive(Clone)]
pub struct Outcome {
    pub task: Task,
    pub result: TaskResult,
    pub took: Duration,
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "few exist, none is moved in a loop")]
pub enum TaskResult {
    Skipped(String),
    /// The suite itself failed.
    Broken(String),
    Judged {
        verdict: Verdict,
        reference: Option<Observation>,
        candidate: Observation,
    },
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        match &self.result {
            TaskResult::Skipped(_) => true,
            TaskResult::Broken(_) => false,
            TaskResult::Judged { verdict, .. } => verdict.is_good(),
        }
    }

    /// Lets what was seen go; the verdict stays.
    pub fn forget(&mut self) {
        if let TaskResult::Judged { reference, candidate, .. } = &mut self.result {
            *candidate = Observation::default();
            if let Some(reference) = reference {
                *reference = Observation::default();
            }
        }
    }

    /// One word for lists.
    pub fn word(&self) -> &'static str {
        match &self.result {
            TaskResult::Skipped(_) => "skipped",
            TaskResult::Broken(_) => "broken",
            TaskResult::Judged { verdict, .. } if !verdict.is_good() => "DIFFERS",
            TaskResult::Judged { verdict, .. } if !verdict.explained.is_empty() => "explained",
            TaskResult::Judged { reference: None, .. } => "alone",
            TaskResult::Judged { .. } => "same",
        }
    }
}

/// Pairs scenarios with runtimes.
pub fn tasks(scenarios: Vec<Scenario>, runtimes: &[RuntimeKind]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for scenario in scenarios {
        let scenario = std::sync::Arc::new(scenario);
        for runtime in &scenario.data.runtimes {
            let chosen = *runtime == RuntimeKind::Standin || runtimes.contains(runtime);
            if chosen {
                tasks.push(Task { scenario: scenario.clone(), runtime: *runtime });
            }
        }
    }
    tasks
}

impl Suite {
    /// Runs tasks on `jobs` threads, `repeat` times over, and hands each outcome on.
    pub fn run(&self, tasks: &[Task], jobs: usize, repeat: usize, outcomes: &Sender<Outcome>) {
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(outcomes.clone());
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= tasks.len() * repeat {
                            return;
                        }
                        let outcome = self.run_one(&tasks[index % tasks.len()]);
                        let sender = outcomes.lock().map(|sender| sender.clone());
                        if sender.is_ok_and(|sender| sender.send(outcome).is_err()) {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// Runs one task under both monitors and judges.
    pub fn run_one(&self, task: &Task) -> Outcome {
        let began = Instant::now();
        let result = match self.host.obstacle(&task.scenario, task.runtime) {
            Some(reason) => TaskResult::Skipped(reason),
            None => {
                self.compare(task).unwrap_or_else(|error| TaskResult::Broken(format!("{error:#}")))
            }
        };
        Outcome { task: task.clone(), result, took: began.elapsed() }
    }

    fn compare(&self, task: &Task) -> Result<TaskResult> {
        let known = task.scenario.data.reference.as_ref();
        let comparable = known.is_none_or(|versions| versions.matches(self.reference.version()));
        let reference = match &self.reference {
            _ if !comparable => None,
            Source::Run(subject) => Some(self.observe(task, subject, None)?),
            Source::Recorded { seen, .. } => Some(
                seen.get(&task.key()).cloned().context("not among the recorded observations")?,
            ),
        };
        let fault = self.fault.as_ref();
        let candidate = self.observe(task, &self.candidate, fault)?;
        let rules = Rules {
            scenario: &task.scenario,
            runtime: task.runtime,
            known: &self.known,
            reference_version: self.reference.version(),
            judge_candidate: self.judge_candidate,
        };
        let verdict = verdict::judge(&rules, reference.as_ref(), &candidate)?;
        Ok(TaskResult::Judged { verdict, reference, candidate })
    }

    fn observe(
        &self,
        task: &Task,
        subject: &Subject,
        fault: Option<&Fault>,
    ) -> Result<Observation> {
        let mut request = request(&self.program, &self.host, task, subject)?;
        request.fault = fault.cloned();
        request.deadline = self.deadline;
        keeper::run(&self.program, &request)
    }

    /// Known divergences that should have shown in these outcomes and did not.
    ///
    /// An entry with a pattern is judged only when every scenario ran (`complete`).
    pub fn stale(&self, outcomes: &[Outcome], complete: bool) -> Vec<&Divergence> {
        let version = self.reference.version();
        let judged: Vec<(&Task, &Verdict)> = outcomes
            .iter()
            .filter_map(|outcome| match &outcome.result {
                TaskResult::Judged { verdict, reference: Some(_), .. } => {
                    Some((&outcome.task, verdict))
                }
                _ => None,
            })
            .collect();
        let entries = self.known.iter().enumerate();
        entries
            .filter(|(index, entry)| {
                let mut concerned = judged
                    .iter()
                    .filter(|(task, _)| entry.concerns(&task.scenario.name, task.runtime, version))
                    .peekable();
                let ran = concerned.peek().is_some();
                let fired =
                    concerned.any(|(_, verdict)| verdict.explained.iter().any(|(_, i)| i == index));
                ran && !fired && (complete || entry.is_exact())
            })
            .map(|(_, entry)| entry)
            .collect()
    }
}

/// Runs a task under one monitor.
///
/// # Errors
///
/// The suite's own failures.
pub fn observe(
    program: &std::path::Path,
    host: &Host,
    task: &Task,
    subject: &Subject,
) -> Result<Observation> {
    keeper::run(program, &request(program, host, task, subject)?)
}

fn request(
    program: &std::path::Path,
    host: &Host,
    task: &Task,
    subject: &Subject,
) -> Result<Request> {
    let text = std::fs::read_to_string(&task.scenario.path)
        .with_context(|| format!("cannot read {}", task.scenario.path.display()))?;
    Ok(Request {
        scenario_path: task.scenario.path.clone(),
        scenario: text,
        runtime: task.runtime,
        monitor: subject.path.clone(),
        tools: programs::tools(program, host, task.runtime)?,
        fault: None,
        deadline: None,
        cgroup: String::new(),
    })
}
