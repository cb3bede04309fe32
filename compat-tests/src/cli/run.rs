//! `conmon-compat run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::host::Host;
use crate::host::cgroup;
use crate::report::{html, machine, text};
use crate::suite::{Outcome, Source, Suite, Task};
use crate::world::keeper;
use crate::world::programs::Fault;
use crate::{stdout, verdict};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::files;
use super::selection::{Pace, Selection, built_monitor, program, subject};

#[derive(Args)]
pub struct RunArgs {
    /// The monitor to be like [default: /usr/bin/conmon]
    #[arg(long, env = "CONMON_REFERENCE", value_name = "PATH")]
    reference: Option<PathBuf>,
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
    /// Put a fault of this library into the candidate, to see that it is noticed
    #[arg(long, value_name = "LIBRARY:FAULT", value_parser = fault)]
    fault: Option<Fault>,
    /// Seconds for each run, instead of the scenarios' own deadlines
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<f64>,
}

fn fault(text: &str) -> Result<Fault, String> {
    let (library, name) = text.split_once(':').ok_or("write LIBRARY:FAULT")?;
    Ok(Fault { library: library.into(), name: name.into() })
}

/// What to write, and where.
#[derive(Args, Clone)]
pub struct Output {
    /// Show known differences too
    #[arg(long, short)]
    verbose: bool,
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
    /// Keep both observations of each run as files below this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Output {
    /// Finds out before a long run whether its reports can be written.
    fn check(&self) -> Result<()> {
        for path in [&self.junit, &self.json, &self.html].into_iter().flatten() {
            let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
            opened.with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(directory) = &self.keep {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        Ok(())
    }

    /// Whether what was seen is needed once it was judged.
    fn needs_observations(&self) -> bool {
        self.json.is_some() || self.html.is_some() || self.keep.is_some()
    }
}

/// Which differences are known.
#[derive(Args, Clone)]
pub struct Known {
    /// The file of known divergences, or `none` to compare as equals
    #[arg(long, value_name = "FILE")]
    divergences: Option<PathBuf>,
}

impl Known {
    /// The entries, unless the two are to be compared as equals.
    pub fn load(&self, scenarios: &Path, equals: bool) -> Result<Vec<verdict::Divergence>> {
        if self.are_equals(equals) {
            return Ok(Vec::new());
        }
        let beside = scenarios.with_file_name("divergences.toml");
        let path = self.divergences.clone().unwrap_or(beside);
        if self.divergences.is_none() && !path.exists() {
            return Ok(Vec::new());
        }
        verdict::load(&path)
    }

    /// Whether the two are to be compared as equals: by their nature, or because it is asked.
    pub fn are_equals(&self, by_nature: bool) -> bool {
        match self.divergences.as_deref() {
            None => by_nature,
            Some(path) => path == Path::new("none"),
        }
    }
}

impl RunArgs {
    pub fn run(self) -> Result<bool> {
        let tasks = self.selection.tasks()?;
        let reference =
            subject(self.reference.as_ref(), "CONMON_REFERENCE", Path::new("/usr/bin/conmon"))?;
        let candidate = subject(self.candidate.as_ref(), "CONMON_CANDIDATE", &built_monitor()?)?;
        let equals = reference.is_same(&candidate) || reference.is_ours() || !candidate.is_ours();
        let suite = Suite {
            program: program()?,
            host: Host::look(),
            reference: Source::Run(reference),
            candidate,
            known: self.known.load(&self.selection.place.directory()?, equals)?,
            judge_candidate: !self.known.are_equals(equals),
            fault: self.fault,
            deadline: self.deadline,
        };
        compare(&suite, &tasks, &self.pace, &self.output, self.selection.is_complete())
    }
}

/// Runs the tasks and writes every report asked for.
pub fn compare(
    suite: &Suite,
    tasks: &[Task],
    pace: &Pace,
    output: &Output,
    complete: bool,
) -> Result<bool> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "worlds need namespaces: run as root");
    output.check()?;
    cgroup::sweep();
    let total = tasks.len() * pace.repeat;
    let bar = progress(total, output.tap);
    let (sender, receiver) = mpsc::channel::<Outcome>();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(total);
    std::thread::scope(|scope| {
        scope.spawn(move || suite.run(tasks, pace.jobs(), pace.repeat, &sender));
        for mut outcome in receiver {
            tell(&bar, &outcome, output, suite);
            if !output.needs_observations() {
                outcome.forget();
            }
            outcomes.push(outcome);
        }
    });
    bar.finish_and_clear();
    keeper::tidy(&suite.program);
    outcomes.sort_by_key(|outcome| outcome.task.key());
    let stale = suite.stale(&outcomes, complete);
    if output.tap {
        stdout::print(machine::tap(&outcomes, &stale));
    } else {
        stdout::print(text::summary(suite, &outcomes, &stale));
    }
    write_files(suite, &outcomes, &stale, output)?;
    anyhow::ensure!(
        outcomes.iter().any(|outcome| outcome.word() != "skipped"),
        "every scenario was skipped: nothing was compared"
    );
    Ok(stale.is_empty() && outcomes.iter().all(Outcome::is_good))
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

fn tell(bar: &ProgressBar, outcome: &Outcome, output: &Output, suite: &Suite) {
    let details = text::details(outcome, &suite.known, output.verbose);
    if output.tap {
        return;
    }
    if bar.is_hidden() {
        stdout::print_line(text::line(outcome));
        if !details.is_empty() {
            stdout::print_line(details);
        }
        return;
    }
    bar.inc(1);
    bar.set_message(outcome.task.scenario.name.clone());
    if !outcome.is_good() || output.verbose {
        bar.suspend(|| stdout::print_line(format_args!("{}{details}", text::line(outcome))));
    }
}

fn write_files(
    suite: &Suite,
    outcomes: &[Outcome],
    stale: &[&verdict::Divergence],
    output: &Output,
) -> Result<()> {
    let write = |path: &PathBuf, content: String| {
        std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &output.junit {
        write(path, machine::junit(outcomes, stale))?;
    }
    if let Some(path) = &output.json {
        write(path, serde_json::to_string_pretty(&machine::json(suite, outcomes, stale))?)?;
    }
    if let Some(path) = &output.html {
        write(path, html::page(suite, outcomes, stale))?;
    }
    if let Some(directory) = &output.keep {
        for outcome in outcomes {
            files::keep(directory, outcome)?;
        }
    }
    Ok(())
}
