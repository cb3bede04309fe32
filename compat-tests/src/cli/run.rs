//! `conmon-compat run`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::bless::Bless;
use super::files;
use super::selection::{Extent, Pace, Place, Selection, built_monitor, program, subject};
use crate::case::{Comparison, Outcome, Source, Table};
use crate::host::exhaustion;
use crate::host::subject::Subject;
use crate::host::traits::Said;
use crate::report::about::{self, About};
use crate::report::groups::{self, Mark};
use crate::report::{Run, html, machine, text};
use crate::tables::{podman, probe};
use crate::verdict::Kind;
use crate::verdict::stale::Stale;
use crate::world::keeper;
use crate::world::programs::Fault;
use crate::{runner, stdout, stop, verdict};

/// How often a run that hears of nothing looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct RunArgs {
    /// The monitor to be like [default: /usr/bin/conmon]
    #[arg(long, env = "CONMON_REFERENCE", value_name = "PATH")]
    reference: Option<PathBuf>,
    #[command(flatten)]
    play: Play,
    /// Put a fault of this library into the candidate, to see that it is noticed
    #[arg(long, value_name = "LIBRARY:FAULT", value_parser = fault)]
    fault: Option<Fault>,
    /// Seconds for each scenario, instead of its own deadline
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<f64>,
    /// Leave the worlds of Podman's table where they are
    #[arg(long)]
    keep_worlds: bool,
}

fn fault(text: &str) -> Result<Fault, String> {
    let (library, name) = text.split_once(':').ok_or("write LIBRARY:FAULT")?;
    Ok(Fault { library: library.into(), name: name.into() })
}

/// What to write, and where.
#[derive(Args, Clone)]
struct Output {
    /// Show known differences too
    #[arg(long, short)]
    verbose: bool,
    /// End the run at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Print TAP instead of lines for people
    #[arg(long)]
    tap: bool,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write everything, the observations included
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page to look at
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where the page's links to the rules lead
    #[arg(long, value_name = "URL", default_value = "docs/specification")]
    specification: String,
    /// Keep both observations of each run as files below this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write what was seen of the candidate into the scenarios, as expectations: of the usual fields, or of those a path such as
    /// `exit_commands.*.argv` names; may be repeated
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    bless: Vec<String>,
}

impl Output {
    /// Finds out before a long run whether its reports can be written.
    fn check(&self) -> Result<()> {
        for path in [&self.junit, &self.json, &self.html].into_iter().flatten() {
            files::can_report(path)?;
        }
        if let Some(directory) = &self.keep {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        Ok(())
    }

    fn run<'a>(
        &'a self,
        comparison: &'a Comparison,
        outcomes: &'a [Outcome],
        stale: &'a [Stale<'a>],
        about: &'a About,
    ) -> Run<'a> {
        Run { comparison, outcomes, stale, about, specification: &self.specification }
    }

    /// Whether what was seen is needed once it was judged.
    fn needs_observations(&self) -> bool {
        self.json.is_some() || self.keep.is_some() || !self.bless.is_empty()
    }
}

/// Which differences are known.
#[derive(Args, Clone)]
struct Known {
    /// The file of known divergences, or `none` to compare as equals
    #[arg(long, value_name = "FILE")]
    divergences: Option<PathBuf>,
    /// Know only divergences of this kind: version, defect, improvement; what others explain counts as a difference; may be repeated
    #[arg(long, value_name = "KIND", value_enum)]
    kind: Vec<Kind>,
    /// What the reference is, where it is not to be asked: level=VERSION, keeps-mode=yes|no
    #[arg(long, value_name = "WHAT=VALUE", value_parser = Said::parse)]
    reference_is: Vec<Said>,
}

impl Known {
    /// Has a comparison know the entries that are asked for.
    fn teach(&self, comparison: &mut Comparison, place: &Place) -> Result<()> {
        comparison.traits = comparison.traits.clone().but(&self.reference_is);
        match self.divergences.as_deref() {
            None => comparison.known = place.divergences()?,
            Some(path) if path == Path::new("none") => {
                comparison.equals = true;
                // They explain nothing then, but say what neither of two equals may be asked for.
                comparison.known = place.divergences()?;
            }
            Some(path) => {
                comparison.known = verdict::load(path)?;
                comparison.equals = false;
            }
        }
        if !self.kind.is_empty() {
            comparison.known.retain(|entry| self.kind.contains(&entry.kind));
        }
        Ok(())
    }
}

/// What every command takes that plays cases and judges them.
#[derive(Args)]
pub struct Play {
    /// The monitor in question [default: the workspace's build]
    #[arg(long, env = "CONMON_CANDIDATE", value_name = "PATH")]
    pub candidate: Option<PathBuf>,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    known: Known,
}

impl Play {
    pub fn candidate(&self) -> Result<Subject> {
        subject(self.candidate.as_ref(), &built_monitor()?)
    }

    /// The candidate beside a reference, with what is known to differ.
    pub fn comparison(&self, reference: Source) -> Result<Comparison> {
        let mut comparison = Comparison::new(program()?, reference, self.candidate()?, Vec::new());
        self.known.teach(&mut comparison, &self.selection.place)?;
        Ok(comparison)
    }

    /// Plays the tables, which are so much of what there is, and writes every report asked for.
    pub fn compare(
        &self,
        comparison: &Comparison,
        tables: &[Table],
        extent: Extent,
    ) -> Result<bool> {
        compare(comparison, tables, &self.pace, &self.output, extent)
    }
}

impl RunArgs {
    pub fn run(self) -> Result<bool> {
        let play = &self.play;
        let tables = play.selection.tables_of(play.candidate.as_ref())?;
        let reference = subject(self.reference.as_ref(), Path::new("/usr/bin/conmon"))?;
        let mut comparison = play.comparison(Source::Run(reference))?;
        comparison.fault = self.fault;
        comparison.deadline = self.deadline;
        comparison.keep_worlds = self.keep_worlds;
        play.compare(&comparison, &tables, play.selection.extent())
    }
}

fn compare(
    comparison: &Comparison,
    tables: &[Table],
    pace: &Pace,
    output: &Output,
    extent: Extent,
) -> Result<bool> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "worlds need namespaces: run as root");
    output.check()?;
    let bless = Bless::plan(&output.bless, tables, extent, comparison.equals)?;
    if tables.iter().any(|table| table.name == podman::NAME) {
        // Podman has no keeper to do it. There is no other thread yet.
        keeper::hold_controllers()?;
    }
    stop::on_signals();
    if tables.iter().any(|table| table.name != podman::NAME) {
        let reference = match &comparison.reference {
            Source::Run(reference) => Some(reference),
            Source::Recorded { .. } => None,
        };
        for monitor in reference.into_iter().chain([&comparison.candidate]) {
            match probe::monitor(&comparison.program, &comparison.host, monitor) {
                // The cases say it, and the reports with them.
                Err(error) if exhaustion::is_reason(&error) => {}
                tried => tried?,
            }
        }
    }
    let about = about::look(&comparison.host);
    let total = tables.iter().map(|table| table.cases.len()).sum::<usize>() * pace.is().repeat;
    let bar = progress(total, output.tap);
    let (sender, receiver) = mpsc::channel::<Outcome>();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(total);
    if output.tap {
        stdout::print_line(machine::TAP);
    }
    std::thread::scope(|scope| -> Result<()> {
        let play = move || runner::run(comparison, tables, pace.is(), &sender);
        let player = std::thread::Builder::new().spawn_scoped(scope, play);
        player.context("cannot start a thread")?;
        let mut saved = false;
        let mut told = Told::default();
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(mut outcome) => {
                    told.tell(&bar, &outcome, output, comparison);
                    if !output.needs_observations() {
                        outcome.forget();
                    }
                    if output.fail_fast && !outcome.is_good() {
                        stop::because(stop::Reason::Failure);
                    }
                    outcomes.push(outcome);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if stop::asked() && !saved {
                // Whoever has asked may not wait for what is in progress.
                saved = true;
                let so_far = with_the_rest(&outcomes, tables, pace.is().repeat);
                write_files(&output.run(comparison, &so_far, &[], &about), output)?;
            }
        }
    })?;
    bar.finish_and_clear();
    outcomes.sort_by_key(|outcome| outcome.case.key());
    let stopped = stop::reason();
    let stale = comparison.stale(&outcomes, extent.complete && stopped.is_none());
    let run = output.run(comparison, &outcomes, &stale, &about);
    if output.tap {
        let why = stopped.map(|reason| reason.to_string());
        stdout::print(machine::tap_end(&run, why.as_deref()));
    } else {
        stdout::print(text::summary(&run));
    }
    write_files(&run, output)?;
    if let Some(reason) = stopped {
        let missed = outcomes.iter().filter(|outcome| !outcome.was_played()).count();
        let text = format!("{reason}: {missed} of {} were not played", outcomes.len());
        anyhow::ensure!(reason == stop::Reason::Failure, text);
        eprintln!("conmon-compat: {text}");
        return Ok(false);
    }
    anyhow::ensure!(
        !outcomes.iter().all(Outcome::is_skipped),
        "every case was skipped: nothing was compared"
    );
    let blessed = bless.map_or(Ok(true), |bless| bless.write(&outcomes))?;
    Ok(blessed && stale.is_empty() && outcomes.iter().all(Outcome::is_good))
}

/// The outcomes there are, and for every other run of a case that it was not played.
fn with_the_rest(outcomes: &[Outcome], tables: &[Table], repeat: usize) -> Vec<Outcome> {
    let mut all = outcomes.to_vec();
    let mut played: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        *played.entry(outcome.case.key()).or_default() += 1;
    }
    for case in tables.iter().flat_map(|table| &table.cases) {
        let done = played.get(&case.key()).copied().unwrap_or_default();
        all.extend((done..repeat).map(|_| Outcome::not_played(case)));
    }
    all.sort_by_key(|outcome| outcome.case.key());
    all
}

/// A bar on a terminal; nothing elsewhere.
fn progress(total: usize, tap: bool) -> ProgressBar {
    if tap || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    if let Ok(look) = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(look);
    }
    bar
}

/// What was told so far, so that nothing is told in full twice.
#[derive(Default)]
struct Told {
    number: usize,
    first: BTreeMap<Mark, String>,
}

impl Told {
    fn tell(
        &mut self,
        bar: &ProgressBar,
        outcome: &Outcome,
        output: &Output,
        comparison: &Comparison,
    ) {
        self.number += 1;
        if output.tap {
            return stdout::print(machine::tap(self.number, outcome));
        }
        if !outcome.was_played() {
            return;
        }
        let mut details = self.details(outcome, output, comparison);
        if bar.is_hidden() {
            stdout::print_line(text::line(outcome));
            if !details.is_empty() {
                stdout::print_line(details);
            }
            return;
        }
        bar.inc(1);
        bar.set_message(outcome.case.name().to_owned());
        if !outcome.is_good() || output.verbose {
            details.insert_str(0, &text::line(outcome));
            bar.suspend(|| stdout::print_line(details));
        }
    }

    /// What is wrong in full, unless all of it was told before.
    fn details(&mut self, outcome: &Outcome, output: &Output, comparison: &Comparison) -> String {
        let key = outcome.case.key();
        let marks = groups::marks(outcome);
        let before = marks.first().and_then(|mark| self.first.get(mark)).cloned();
        let known = marks.iter().all(|mark| self.first.contains_key(mark));
        for mark in marks {
            self.first.entry(mark).or_insert_with(|| key.clone());
        }
        match before {
            Some(before) if known && !output.verbose => format!("  as in {before}"),
            _ => text::details(outcome, &comparison.known, output.verbose),
        }
    }
}

fn write_files(run: &Run<'_>, output: &Output) -> Result<()> {
    if let Some(path) = &output.junit {
        files::report(path, &machine::junit(run)?)?;
    }
    if let Some(path) = &output.json {
        files::report(path, &serde_json::to_string_pretty(&machine::json(run))?)?;
    }
    if let Some(path) = &output.html {
        files::report(path, &html::page(run))?;
    }
    if let Some(directory) = &output.keep {
        for outcome in run.outcomes {
            files::keep(directory, outcome)?;
        }
    }
    Ok(())
}
