//! The command line of the suite.

mod golden;
mod run;
mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use conmon_compat::host::Host;
use conmon_compat::scenario::{self, RuntimeKind, Scenario};
use conmon_compat::stdout;
use conmon_compat::subject::Subject;
use conmon_compat::suite::{self, Task};
use conmon_compat::tables::at_least_one;
use conmon_compat::text::glob;

/// Compares two container monitors by running real containers under both.
#[derive(Parser)]
#[command(name = "conmon-compat", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios under a reference and a candidate and show what differs
    Run(run::RunArgs),
    /// List the scenarios
    List(Selection),
    /// Show what a scenario does, and how to do it by hand
    Show {
        /// `area/behaviour`
        scenario: String,
        #[command(flatten)]
        place: Place,
    },
    /// Record what one monitor does, for a later `check`
    Record(golden::RecordArgs),
    /// Compare a candidate with recorded observations
    Check(golden::CheckArgs),
    /// Say what this host lacks and which scenarios will be skipped for it
    Doctor(Selection),
    /// Measure two or more monitors side by side; see `bench --help`
    Bench,
}

/// Where the scenarios are.
#[derive(Args, Clone)]
struct Place {
    /// The directory of the scenarios
    #[arg(long, env = "CONMON_COMPAT_SCENARIOS", value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Which scenarios, with which runtimes.
#[derive(Args, Clone)]
struct Selection {
    #[command(flatten)]
    place: Place,
    /// Only this area, or scenarios whose name fits, as `attach/*late*`; may be repeated
    #[arg(long, short, value_name = "AREA/NAME")]
    filter: Vec<String>,
    /// Only this runtime; may be repeated
    #[arg(long, short, value_parser = runtime)]
    runtime: Vec<RuntimeKind>,
}

/// How the runs are made.
#[derive(Args, Clone)]
struct Pace {
    /// How many scenarios run at once [default: four for each core]
    #[arg(long, short, value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Run everything so many times
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    repeat: usize,
}

impl Pace {
    fn jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or(cores * 4)
    }
}

fn runtime(word: &str) -> Result<RuntimeKind, String> {
    match word {
        "crun" => Ok(RuntimeKind::Crun),
        "runc" => Ok(RuntimeKind::Runc),
        "standin" => Ok(RuntimeKind::Standin),
        _ => Err("one of crun, runc, standin".into()),
    }
}

impl Place {
    fn directory(&self) -> Result<PathBuf> {
        if let Some(directory) = &self.scenarios {
            return Ok(directory.clone());
        }
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
        ["fixtures/scenarios".into(), beside, "/usr/share/conmon-compat/scenarios".into()]
            .into_iter()
            .find(|path: &PathBuf| path.is_dir())
            .context("no scenarios found: use --scenarios DIR")
    }

    fn load(&self) -> Result<Vec<Scenario>> {
        scenario::load_all(&self.directory()?).map_err(|refusals| {
            let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("refused\n{}", all.join("\n"))
        })
    }
}

impl Selection {
    fn is_complete(&self) -> bool {
        self.filter.is_empty() && self.runtime.is_empty()
    }

    fn tasks(&self) -> Result<Vec<Task>> {
        let fits = |name: &str| {
            self.filter.is_empty()
                || self
                    .filter
                    .iter()
                    .any(|f| glob(f, name, '/') || glob(&format!("{f}/*"), name, '/'))
        };
        let scenarios: Vec<Scenario> =
            self.place.load()?.into_iter().filter(|s| fits(&s.name)).collect();
        let runtimes = if self.runtime.is_empty() {
            vec![RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin]
        } else {
            self.runtime.clone()
        };
        let tasks: Vec<Task> = suite::tasks(scenarios, &runtimes)
            .into_iter()
            .filter(|task| runtimes.contains(&task.runtime))
            .collect();
        if tasks.is_empty() {
            let (all, runtimes) = (self.filter.join(", "), format!("{runtimes:?}").to_lowercase());
            bail!("no scenario fits `{all}` with {runtimes}; `list` shows them all");
        }
        Ok(tasks)
    }
}

/// The monitor an option, a variable or the build names.
fn subject(given: Option<&PathBuf>, variable: &str, default: &Path) -> Result<Subject> {
    let path = match given {
        Some(path) => path.clone(),
        None => std::env::var_os(variable).map_or_else(|| default.to_path_buf(), PathBuf::from),
    };
    Subject::check(&path)
}

/// This program, and the directory its siblings were built into.
fn program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

fn built_monitor() -> Result<PathBuf> {
    Ok(program()?.with_file_name("conmon"))
}

impl Cli {
    /// Does what was asked; false when something differs.
    pub fn run(self) -> Result<bool> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::List(selection) => {
                for task in selection.tasks()? {
                    let data = &task.scenario.data;
                    let (why, rules) = (data.why.replace('\n', " "), data.rules.join(" "));
                    stdout::print_line(format_args!("{:60} {why} [{rules}]", task.key()));
                }
                Ok(true)
            }
            Command::Show { scenario, place } => {
                let all = place.load()?;
                let found = all.iter().find(|s| s.name == scenario);
                let found = found
                    .with_context(|| format!("no scenario `{scenario}`; `list` shows them all"))?;
                stdout::print(show::describe(found)?);
                Ok(true)
            }
            Command::Record(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Doctor(selection) => doctor(&selection),
            // `main` has taken it already.
            Command::Bench => bail!("bench is the first word or none"),
        }
    }
}

fn doctor(selection: &Selection) -> Result<bool> {
    let host = Host::look();
    for finding in host.findings() {
        let (word, text) = match finding.found {
            Ok(found) => (console::style("ok  ").green(), found),
            Err(lack) => (console::style("lack").yellow(), lack),
        };
        stdout::print_line(format_args!("{word} {}: {text}", finding.what));
    }
    let program = program()?;
    for kind in [RuntimeKind::Crun, RuntimeKind::Standin] {
        if let Err(problem) = suite::tools(&program, &host, kind) {
            stdout::print_line(format_args!("{} {problem:#}", console::style("lack").red()));
        }
    }
    let tasks = selection.tasks()?;
    let skipped: Vec<String> = tasks
        .iter()
        .filter_map(|task| {
            let reason = host.obstacle(&task.scenario, task.runtime)?;
            Some(format!("  {}: {reason}", task.key()))
        })
        .collect();
    stdout::print_line(format_args!("{} of {} runs will be skipped", skipped.len(), tasks.len()));
    skipped.iter().for_each(stdout::print_line);
    Ok(nix::unistd::geteuid().is_root())
}
