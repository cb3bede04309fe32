//! `record` and `check`: a reference that is not installed, through what it once did.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::files::{file, read, write};
use super::run::{Known, Output, compare};
use super::selection::{Pace, Selection, built_monitor, program, subject};
use crate::case::{Case, CaseResult, Comparison, Judged, Outcome, Side, Source};
use crate::host::Host;
use crate::host::subject::Subject;
use crate::observation::Observation;
use crate::scenario::RuntimeKind;
use crate::tables::scenarios;
use crate::verdict::{Seen, Verdict};
use crate::{runner, stdout, stop};

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

/// A case that is only looked at, and what was seen written down.
struct Recording {
    case: Arc<dyn Case>,
    to: PathBuf,
}

impl Case for Recording {
    fn name(&self) -> &str {
        self.case.name()
    }

    fn runtime(&self) -> Option<RuntimeKind> {
        self.case.runtime()
    }

    fn why(&self) -> &str {
        self.case.why()
    }

    fn lack(&self, host: &Host) -> Option<String> {
        self.case.lack(host)
    }

    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen> {
        self.case.observe(monitor, side, comparison)
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        let seen = self.observe(&comparison.candidate, Side::Candidate, comparison)?;
        write(&self.to, &seen.value)?;
        Ok(Judged { verdict: Verdict::default(), reference: None, candidate: Seen::default() })
    }
}

impl RecordArgs {
    pub fn run(self) -> Result<bool> {
        let binary = Subject::check(&self.binary)?;
        let mut tables = self.selection.of_table(scenarios::NAME).tables()?;
        let about = About { version: binary.version.clone(), label: binary.label.clone() };
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;
        write(&self.out.join("about.json"), &about)?;
        for case in tables.iter_mut().flat_map(|table| &mut table.cases) {
            let to = file(&self.out, &case.key(), "");
            *case = Arc::new(Recording { case: case.clone(), to });
        }
        let label = binary.label.clone();
        let comparison =
            Comparison::new(program()?, Source::Run(binary.clone()), binary, Vec::new());
        stop::on_signals();
        let (sender, outcomes) = mpsc::channel();
        runner::run(&comparison, &tables, self.pace.is(), &sender);
        drop(sender);
        let mut failures = Vec::new();
        for Outcome { case, result, .. } in outcomes {
            if let CaseResult::Broken(reason) = result {
                failures.push(format!("{}: {reason}", case.key()));
            }
        }
        if !failures.is_empty() {
            bail!("not recorded:\n{}", failures.join("\n"));
        }
        anyhow::ensure!(!stop::asked(), "stopped by a signal: not everything is recorded");
        stdout::print_line(format_args!("{label} recorded in {}", self.out.display()));
        Ok(true)
    }
}

impl CheckArgs {
    pub fn run(self) -> Result<bool> {
        let selection = self.selection.of_table(scenarios::NAME);
        let tables = selection.tables()?;
        let about: About = read(&self.golden.join("about.json"))?;
        let mut seen = BTreeMap::new();
        for case in tables.iter().flat_map(|table| &table.cases) {
            let path = file(&self.golden, &case.key(), "");
            if path.exists() {
                seen.insert(case.key(), scenarios::seen(&read::<Observation>(&path)?)?);
            }
        }
        let candidate = subject(self.candidate.as_ref(), &built_monitor()?)?;
        let reference = Source::Recorded {
            version: about.version,
            label: format!("{} (recorded in {})", about.label, self.golden.display()),
            seen,
        };
        let mut comparison = Comparison::new(program()?, reference, candidate, Vec::new());
        self.known.teach(&mut comparison, &selection.place)?;
        compare(&comparison, &tables, &self.pace, &self.output, self.selection.is_complete())
    }
}
