//! Runs Podman with two monitors through a table of cases and prints where users would see a difference.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../podman/mod.rs"]
mod podman;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use semver::Version;

use podman::case::{self, Case};
use podman::host::{self, Fact, Host};
use podman::outcome::{self, Outcome};
use podman::report::{self, Row, Verdict};
use podman::script::{End, STOP};
use podman::world::{self, Owner, Plan, World};

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

/// Everything a worker needs.
struct Table<'a> {
    host: &'a Host,
    plan: &'a Plan,
    reference: &'a Path,
    candidate: &'a Path,
    reference_version: Version,
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
    let candidate = options.candidate.clone().unwrap_or_else(beside_us);
    let table_versions =
        (host::monitor_version(&options.reference)?, host::monitor_version(&candidate)?);
    if !nix::unistd::geteuid().is_root() {
        return Err("must run as root".to_owned());
    }
    world::sweep();
    let run_directory = world::run_directory().map_err(|error| error.to_string())?;
    let rows = prepared(options, &cases, &host, &candidate, &run_directory, &table_versions);
    let _best_effort = std::fs::remove_dir_all(&run_directory);
    finish(options, rows?)
}

/// Makes what all worlds share, and runs the cases.
fn prepared(
    options: &Options,
    cases: &[Case],
    host: &Host,
    candidate: &Path,
    run_directory: &Path,
    versions: &(Version, Version),
) -> Result<Vec<Row>, String> {
    let prelude = options
        .cases
        .clone()
        .unwrap_or_else(|| workspace().join("fixtures/podman"))
        .join("prelude.sh");
    let prelude = std::fs::read_to_string(&prelude)
        .map_err(|error| format!("{}: {error}", prelude.display()))?;
    let mut plan = Plan {
        runtime: String::new(),
        systemd: host.has(Fact::Systemd),
        journald: host.has(Fact::Journald),
        rootfs: world::make_rootfs(run_directory).map_err(|error| error.to_string())?,
        prelude,
        keep: options.keep,
        // Its kernel may lack the packet filter that published ports would take.
        more_configuration: if host.podman.major >= 5 && !host.has(Fact::PacketFilter) {
            "[network]\nfirewall_driver = \"none\"\n"
        } else {
            ""
        },
    };
    end_on_signals();
    plan.runtime = world::choose_runtime(host, &options.runtime, &plan, &options.reference)
        .map_err(|reasons| format!("no runtime works here:\n{reasons}"))?;
    eprintln!(
        "podman {} with {}; reference conmon {}, candidate conmon {}",
        host.podman, plan.runtime, versions.0, versions.1
    );
    let table = Table {
        host,
        plan: &plan,
        reference: &options.reference,
        candidate,
        reference_version: versions.0.clone(),
    };
    let queue: Vec<&Case> = std::iter::repeat_n(cases, options.repeat).flatten().collect();
    let jobs = options
        .jobs
        .unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..jobs.min(queue.len()) {
            let (table, queue, next, rows) = (&table, &queue, &next, &rows);
            scope.spawn(move || {
                let mut worlds = HashMap::new();
                while let Some(case) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if STOP.load(Ordering::Relaxed) {
                        break;
                    }
                    let row = table.play(case, worker, &mut worlds);
                    println!("{}", row.text());
                    if let Ok(mut rows) = rows.lock() {
                        rows.push(row);
                    }
                }
            });
        }
    });
    if STOP.load(Ordering::Relaxed) {
        return Err("interrupted".to_owned());
    }
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by(|a, b| a.case.cmp(&b.case));
    Ok(rows)
}

fn finish(options: &Options, rows: Vec<Row>) -> Result<bool, String> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &options.json {
        write(path, serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?)?;
    }
    if let Some(path) = &options.junit {
        write(path, report::junit(&rows))?;
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

type Worlds = HashMap<(&'static str, bool), World>;

impl Table<'_> {
    fn play(&self, case: &Case, worker: usize, worlds: &mut Worlds) -> Row {
        let started = Instant::now();
        let mut row = Row {
            case: case.id(),
            why: case.why.clone(),
            seconds: 0.0,
            verdict: Verdict::Same,
            reference: None,
            candidate: None,
        };
        if let Some(reason) = self.host.lacks(case) {
            row.verdict = Verdict::Skipped { reason };
            return row;
        }
        let outcomes =
            self.outcome(case, "reference", self.reference, worker, worlds).and_then(|reference| {
                self.outcome(case, "candidate", self.candidate, worker, worlds)
                    .map(|candidate| (reference, candidate))
            });
        row.seconds = started.elapsed().as_secs_f64();
        match outcomes {
            Err(error) => row.verdict = Verdict::Broken { reason: error.to_string() },
            Ok((reference, candidate)) => {
                row.verdict = self.judge(case, &reference, &candidate);
                row.reference = Some(reference);
                row.candidate = Some(candidate);
            }
        }
        row
    }

    fn outcome(
        &self,
        case: &Case,
        side: &'static str,
        monitor: &Path,
        worker: usize,
        worlds: &mut Worlds,
    ) -> std::io::Result<Outcome> {
        let owner = if case.rootless { Owner::User } else { Owner::Root };
        let world = match worlds.entry((side, case.rootless)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                // Both sides' names are of one length, so that nothing shifts in what Podman prints.
                let name =
                    format!("{worker}{}{}", &side[..3], if case.rootless { "-user" } else { "" });
                entry.insert(World::new(self.plan, monitor, &name, owner)?)
            }
        };
        let text = format!("{}\n{}", self.plan.prelude, case.run);
        let finished = world.run(&text, Duration::from_secs(case.timeout_s))?;
        if finished.end == End::Stopped {
            return Err(std::io::Error::other("interrupted"));
        }
        let left = world.tidy()?;
        Ok(Outcome::new(case, &finished, left, world.directory(), monitor))
    }

    fn judge(&self, case: &Case, reference: &Outcome, candidate: &Outcome) -> Verdict {
        // A monitor compared with itself differs in nothing; what it does wrong is not the question.
        if self.reference == self.candidate && case.differs.is_some() {
            let diff = outcome::difference(reference, candidate);
            return if diff.is_empty() { Verdict::Same } else { Verdict::Different { diff } };
        }
        let known = case
            .differs
            .as_ref()
            .filter(|differs| differs.applies_to(Some(&self.reference_version)));
        // Where the reference is known to be wrong, only ours has to do what the case says.
        let sides = [("reference", reference), ("candidate", candidate)];
        for (monitor, outcome) in sides.into_iter().skip(usize::from(known.is_some())) {
            let missing: Vec<String> =
                outcome.misses(case).into_iter().map(str::to_owned).collect();
            if !missing.is_empty() {
                return Verdict::NotAsExpected { monitor, missing };
            }
        }
        let diff = outcome::difference(reference, candidate);
        match known {
            Some(differs) if diff.is_empty() => Verdict::Stale { why: differs.why.clone() },
            Some(differs) => {
                Verdict::DiffersAsKnown { why: differs.why.clone(), link: differs.link.clone() }
            }
            None if diff.is_empty() => Verdict::Same,
            None => Verdict::Different { diff },
        }
    }
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
