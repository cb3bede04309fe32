//! `record` and `check`: a reference that is not installed, through what it once did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::run::Play;
use super::selection::{Pace, Selection, program};
use crate::case::{Case, CaseResult, Comparison, Judged, Outcome, Side, Source, Table};
use crate::golden::{self, Golden, Monitor, Record};
use crate::host::Host;
use crate::host::identity::Identity;
use crate::host::subject::Subject;
use crate::host::traits::{Said, Traits};
use crate::scenario::RuntimeKind;
use crate::tables::scenarios;
use crate::verdict::{Seen, Verdict};
use crate::{clock, runner, stdout, stop};

#[derive(Args)]
pub struct RecordArgs {
    /// The monitor to record
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Where to put the observations; compressed if the name ends in .xz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the monitor is, where it is not to be asked: level=VERSION, keeps-mode=yes|no
    #[arg(long, value_name = "WHAT=VALUE", value_parser = Said::parse)]
    reference_is: Vec<Said>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pace: Pace,
}

#[derive(Args)]
pub struct CheckArgs {
    /// The file a `record` wrote
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    #[command(flatten)]
    play: Play,
}

/// A case that is only looked at, and what was seen kept.
struct Recording {
    case: Arc<dyn Case>,
    to: Arc<Mutex<Vec<Record>>>,
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
        let (runtime, fingerprint) = self
            .case
            .runtime()
            .zip(self.case.fingerprint())
            .context("only scenarios can be recorded")?;
        let record = Record::new(self.case.name(), runtime, fingerprint, &seen.value)?;
        self.to.lock().map_err(|_| anyhow::anyhow!("another recording failed"))?.push(record);
        Ok(Judged { verdict: Verdict::default(), reference: None, candidate: Seen::default() })
    }
}

impl RecordArgs {
    pub fn run(self) -> Result<bool> {
        let binary = Subject::check(&self.binary)?;
        let mut tables = self.selection.of_table(scenarios::NAME).tables()?;
        // Found out before a long run.
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.out)
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        let records = Arc::new(Mutex::new(Vec::new()));
        for case in tables.iter_mut().flat_map(|table| &mut table.cases) {
            *case = Arc::new(Recording { case: case.clone(), to: records.clone() });
        }
        let traits = Traits::ask(&binary).but(&self.reference_is);
        let label = binary.label.clone();
        let monitor = Monitor { version: binary.version.clone(), label: label.clone(), traits };
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
        ensure!(!stop::asked(), "stopped by a signal: not everything is recorded");
        let records = std::mem::take(
            &mut *records.lock().map_err(|_| anyhow::anyhow!("a recording failed"))?,
        );
        ensure!(!records.is_empty(), "every case was skipped: nothing was recorded");
        let (count, said) = (records.len(), monitor.traits.to_string());
        let revision = revision(&self.selection.place.data()?);
        let host = Identity::look(&comparison.host);
        golden::write(&self.out, monitor, revision, clock::today(), host, records)?;
        let to = self.out.display();
        stdout::print_line(format_args!("{label}, {said}: {count} records in {to}"));
        Ok(true)
    }
}

/// The revision of the data in a checkout, else the suite's version.
fn revision(data: &Path) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(data)
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

impl CheckArgs {
    pub fn run(self) -> Result<bool> {
        let play = &self.play;
        let tables = play.selection.of_table(scenarios::NAME).tables()?;
        let golden = Golden::read(&self.golden, &Identity::look(&Host::look()))?;
        let comparison = play.comparison(Source::Recorded(Box::new(golden)))?;
        let good = play.compare(&comparison, &tables, play.selection.extent());
        tell_void(&comparison, &tables);
        good
    }
}

/// Says what was not compared although this host can play it, grouped by the reason.
fn tell_void(comparison: &Comparison, tables: &[Table]) {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in tables.iter().flat_map(|table| &table.cases) {
        if case.lack(&comparison.host).is_none() {
            if let Some(reason) = comparison.void(case.as_ref()) {
                reasons.entry(reason).or_default().push(case.key());
            }
        }
    }
    for (reason, keys) in reasons {
        eprintln!("NOT COMPARED, {reason}: {} runs: {}", keys.len(), keys.join(", "));
    }
}
