//! `record` and `check`: a reference that is not installed, through what it once did.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::host::Host;
use crate::host::subject::{Subject, is_ours};
use crate::observation::Observation;
use crate::stdout;
use crate::suite::{self, Source, Suite};
use crate::world::keeper;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::files::{file, read, write};
use super::run::{Known, Output, compare};
use super::selection::{Pace, Selection, built_monitor, program, subject};

/// Who was recorded.
#[derive(Serialize, Deserialize)]
struct About {
    version: semver::Version,
    label: String,
}

#[derive(Args)]
pub struct RecordArgs {
    /// The monitor to record
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Where to put the observations
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pace: Pace,
}

#[derive(Args)]
pub struct CheckArgs {
    /// The directory a `record` wrote
    #[arg(long, value_name = "DIR")]
    golden: PathBuf,
    /// The monitor in question [default: the workspace's build]
    #[arg(long, env = "CONMON_CANDIDATE", value_name = "PATH")]
    candidate: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    known: Known,
}

impl RecordArgs {
    pub fn run(self) -> Result<bool> {
        let binary = Subject::check(&self.binary)?;
        let host = Host::look();
        let program = program()?;
        let tasks = self.selection.tasks()?;
        let about = About { version: binary.version.clone(), label: binary.label.clone() };
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;
        write(&self.out.join("about.json"), &about)?;
        let todo = Mutex::new(tasks.iter());
        let failures = Mutex::new(Vec::new());
        let next = || todo.lock().ok().and_then(|mut todo| todo.next());
        std::thread::scope(|scope| {
            for _ in 0..self.pace.jobs() {
                scope.spawn(|| {
                    while let Some(task) = next() {
                        if host.obstacle(&task.scenario, task.runtime).is_some() {
                            continue;
                        }
                        let seen = suite::observe(&program, &host, task, &binary);
                        let done =
                            seen.and_then(|seen| write(&file(&self.out, &task.key(), ""), &seen));
                        if let (Err(error), Ok(mut failures)) = (done, failures.lock()) {
                            failures.push(format!("{}: {error:#}", task.key()));
                        }
                    }
                });
            }
        });
        keeper::tidy(&program);
        let failures = failures.into_inner().unwrap_or_default();
        if !failures.is_empty() {
            bail!("not recorded:\n{}", failures.join("\n"));
        }
        stdout::print_line(format_args!("{} recorded in {}", binary.label, self.out.display()));
        Ok(true)
    }
}

impl CheckArgs {
    pub fn run(self) -> Result<bool> {
        let tasks = self.selection.tasks()?;
        let about: About = read(&self.golden.join("about.json"))?;
        let mut seen = BTreeMap::new();
        for task in &tasks {
            let path = file(&self.golden, &task.key(), "");
            if path.exists() {
                seen.insert(task.key(), read::<Observation>(&path)?);
            }
        }
        let candidate = subject(self.candidate.as_ref(), "CONMON_CANDIDATE", &built_monitor()?)?;
        let equals = is_ours(&about.version) || !candidate.is_ours();
        let suite = Suite {
            program: program()?,
            host: Host::look(),
            reference: Source::Recorded {
                version: about.version,
                label: format!("{} (recorded in {})", about.label, self.golden.display()),
                seen,
            },
            candidate,
            known: self.known.load(&self.selection.place.directory()?, equals)?,
            judge_candidate: !self.known.are_equals(equals),
            fault: None,
            deadline: None,
        };
        compare(&suite, &tasks, &self.pace, &self.output, self.selection.is_complete())
    }
}
