//! Runs Podman with two monitors through a table of cases and prints where users would see a difference.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use conmon_compat::podman::case::{self, Case};
use conmon_compat::podman::host::Host;
use conmon_compat::podman::report::{self, Row, Verdict};
use conmon_compat::podman::script::STOP;
use conmon_compat::podman::table::{Settings, Table};
use conmon_compat::stage;
use nix::sys::signal::{SigSet, Signal};

/// Compares two monitors by what Podman's users see.
#[derive(Parser)]
struct Options {
    /// The monitor that is known to be right.
    #[arg(long, env = "CONMON_REFERENCE", default_value = "/usr/bin/conmon")]
    reference: PathBuf,
    /// The monitor under test.
    #[arg(long, env = "CONMON_CANDIDATE")]
    candidate: Option<PathBuf>,
    /// OCI runtimes to try, the first that works is used.
    #[arg(long, default_values = ["crun", "runc"])]
    runtime: Vec<String>,
    /// Only cases whose AREA/NAME contains this; may be repeated.
    #[arg(long)]
    filter: Vec<String>,
    /// Cases at a time.
    #[arg(long)]
    jobs: Option<usize>,
    /// How often to run each case.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// The directory of the tables.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// List the cases, and what keeps them from running here.
    #[arg(long)]
    list: bool,
    /// Leave the worlds where they are.
    #[arg(long)]
    keep: bool,
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long)]
    junit: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("podman-compat: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let directory = options.cases.clone().unwrap_or_else(|| workspace().join("fixtures/podman"));
    let mut cases = case::read_all(&directory)?;
    cases.retain(|case| {
        options.filter.is_empty()
            || options.filter.iter().any(|filter| case.id().contains(filter.as_str()))
    });
    if cases.is_empty() {
        return Err("no case matches".to_owned());
    }
    let host = Host::probe()?;
    if options.list {
        for case in &cases {
            let note =
                host.lacks(case).map_or(String::new(), |reason| format!(" [skipped: {reason}]"));
            println!("{}: {}{note}", case.id(), case.why);
        }
        return Ok(true);
    }
    stage::hold_controllers().map_err(|error| format!("{error:#}"))?;
    end_on_signals();
    let table = Table::new(
        host,
        &Settings {
            reference: &options.reference,
            candidate: &options.candidate.clone().unwrap_or_else(beside_us),
            runtimes: &options.runtime,
            cases: &directory,
            keep: options.keep,
        },
    )?;
    eprintln!(
        "podman {} with {}; reference conmon {}, candidate conmon {}",
        table.host.podman, table.plan.runtime, table.reference_version, table.candidate_version
    );
    let rows = play_all(options, &cases, &table);
    drop(table);
    if STOP.load(Ordering::Relaxed) {
        return Err("interrupted".to_owned());
    }
    finish(options, &rows)
}

/// Plays all cases, several at a time, and prints each row as it is done.
fn play_all(options: &Options, cases: &[Case], table: &Table) -> Vec<Row> {
    let queue: Vec<&Case> = std::iter::repeat_n(cases, options.repeat).flatten().collect();
    let jobs = options
        .jobs
        .unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(queue.len()) {
            scope.spawn(|| {
                while let Some(case) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if STOP.load(Ordering::Relaxed) {
                        break;
                    }
                    let row = table.play(case);
                    println!("{}", row.text());
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

fn finish(options: &Options, rows: &[Row]) -> Result<bool, String> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &options.json {
        write(path, serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?)?;
    }
    if let Some(path) = &options.junit {
        write(path, report::junit("podman", rows))?;
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

/// The workspace this program was built in, or the one named by the environment.
fn workspace() -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::env::var_os("WORKSPACE").map_or_else(|| built_in.to_owned(), PathBuf::from)
}

/// The monitor of the same build.
fn beside_us() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("conmon")
}

/// Has the first of these signals end the run, orderly; the worlds are removed on the way out.
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
