//! Plays CRI-O's part with two monitors through a table of cases and prints where CRI-O would see a difference.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use clap::Parser;
use conmon_compat::crio::case::{self, Task};
use conmon_compat::crio::table::{self, Table};
use conmon_compat::host::Host;
use conmon_compat::podman::report::{self, Row, Verdict};
use conmon_compat::scenario::RuntimeKind;
use conmon_compat::{crio, stage};
use nix::sys::signal::{SigSet, Signal};

/// Compares two monitors by what CRI-O sees of them.
#[derive(Parser)]
struct Options {
    /// The monitor that is known to be right.
    #[arg(long, env = "CONMON_REFERENCE", default_value = "/usr/bin/conmon")]
    reference: PathBuf,
    /// The monitor under test.
    #[arg(long, env = "CONMON_CANDIDATE")]
    candidate: Option<PathBuf>,
    /// OCI runtimes, each case is played with each: crun, runc.
    #[arg(long, value_parser = runtime, default_values = ["crun", "runc"])]
    runtime: Vec<RuntimeKind>,
    /// Only cases whose AREA/NAME@RUNTIME contains this; may be repeated.
    #[arg(long)]
    filter: Vec<String>,
    /// Cases at a time.
    #[arg(long)]
    jobs: Option<usize>,
    /// How often to play each case.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// List the cases, and what keeps them from being played here.
    #[arg(long)]
    list: bool,
    /// Print all facts, not only those that differ.
    #[arg(long)]
    verbose: bool,
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long)]
    junit: Option<PathBuf>,
}

fn runtime(text: &str) -> Result<RuntimeKind, String> {
    match text {
        "crun" => Ok(RuntimeKind::Crun),
        "runc" => Ok(RuntimeKind::Runc),
        _ => Err("neither crun nor runc".to_owned()),
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        Some(stage::KEEPER) => stage::keep().map(|status| status.success()),
        Some(stage::PLAYER) => crio::stage::play().map(|()| true),
        Some(stage::TIDIER) => stage::tidy_here().map(|()| true),
        _ => run(&Options::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crio-compat: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let mut tasks = case::tasks(&options.runtime);
    tasks.retain(|task| {
        let id = task.id();
        options.filter.is_empty() || options.filter.iter().any(|filter| id.contains(filter))
    });
    if tasks.is_empty() {
        bail!("no case matches");
    }
    if options.list {
        let host = Host::look();
        for task in &tasks {
            let lack = table::lacks(&host, task);
            let note = lack.map_or(String::new(), |reason| format!(" [skipped: {reason}]"));
            println!("{}: {}{note}", task.id(), task.case.why);
        }
        return Ok(true);
    }
    end_on_signals();
    let program = std::env::current_exe()?;
    let beside = program.with_file_name("conmon");
    let candidate = options.candidate.clone().unwrap_or(beside);
    let table = Table::new(&program, &options.reference, &candidate)?;
    eprintln!(
        "reference conmon {}, candidate conmon {}",
        table.reference.label, table.candidate.label
    );
    let rows = play_all(options, &tasks, &table);
    stage::tidy(&program);
    if STOP.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    finish(options, &rows)
}

/// Plays all cases, several at a time, and prints each row as it is done.
fn play_all(options: &Options, tasks: &[Task], table: &Table) -> Vec<Row> {
    let queue: Vec<&Task> = std::iter::repeat_n(tasks, options.repeat).flatten().collect();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or(2 * processors);
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(queue.len()) {
            scope.spawn(|| {
                while let Some(task) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if STOP.load(Ordering::Relaxed) {
                        break;
                    }
                    let row = table.play(task);
                    println!("{}", row.text());
                    if options.verbose {
                        let outcome = row.candidate.as_ref();
                        println!("{}", outcome.map_or("", |outcome| outcome.stdout.as_str()));
                    }
                    if let Ok(mut rows) = rows.lock() {
                        rows.push(row);
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by(|a, b| a.case.cmp(&b.case));
    rows
}

fn finish(options: &Options, rows: &[Row]) -> Result<bool> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| path.display().to_string())
    };
    if let Some(path) = &options.json {
        write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    if let Some(path) = &options.junit {
        write(path, report::junit("crio", rows))?;
    }
    let count = |wanted: fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
    let failed = count(Row::failed);
    let skipped = count(|row| matches!(row.verdict, Verdict::Skipped { .. }));
    let known = count(|row| matches!(row.verdict, Verdict::DiffersAsKnown { .. }));
    println!("\n{} cases, {known} known differences", rows.len());
    for row in rows.iter().filter(|row| row.failed()) {
        println!("failed: {}", row.case);
    }
    println!("{} passed, {failed} failed, {skipped} skipped", rows.len() - failed - skipped);
    Ok(failed == 0)
}

/// Has the first of these signals end the run after the cases in progress.
fn end_on_signals() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    if signals.thread_block().is_ok() {
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                STOP.store(true, Ordering::Relaxed);
            }
        });
    }
}
