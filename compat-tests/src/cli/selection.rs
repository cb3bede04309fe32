//! The options that several sub-commands share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::host::subject::Subject;
use crate::scenario::{self, RuntimeKind, Scenario};
use crate::suite::{self, Task};
use crate::tables::at_least_one;
use crate::text::glob;

/// Where the scenarios are.
#[derive(Args, Clone)]
pub struct Place {
    /// The directory of the scenarios
    #[arg(long, env = "CONMON_COMPAT_SCENARIOS", value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Which scenarios, with which runtimes.
#[derive(Args, Clone)]
pub struct Selection {
    #[command(flatten)]
    pub place: Place,
    /// Only this area, or scenarios whose name fits, as `attach/*late*`; may be repeated
    #[arg(long, short, value_name = "AREA/NAME")]
    filter: Vec<String>,
    /// Only this runtime; may be repeated
    #[arg(long, short, value_parser = runtime)]
    runtime: Vec<RuntimeKind>,
}

/// How the runs are made.
#[derive(Args, Clone)]
pub struct Pace {
    /// How many scenarios run at once [default: four for each core]
    #[arg(long, short, value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Run everything so many times
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub repeat: usize,
}

impl Pace {
    pub fn jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or(cores * 4)
    }
}

pub fn runtime(word: &str) -> Result<RuntimeKind, String> {
    match word {
        "crun" => Ok(RuntimeKind::Crun),
        "runc" => Ok(RuntimeKind::Runc),
        "standin" => Ok(RuntimeKind::Standin),
        _ => Err("one of crun, runc, standin".into()),
    }
}

impl Place {
    pub fn directory(&self) -> Result<PathBuf> {
        if let Some(directory) = &self.scenarios {
            return Ok(directory.clone());
        }
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
        ["fixtures/scenarios".into(), beside, "/usr/share/conmon-compat/scenarios".into()]
            .into_iter()
            .find(|path: &PathBuf| path.is_dir())
            .context("no scenarios found: use --scenarios DIR")
    }

    pub fn load(&self) -> Result<Vec<Scenario>> {
        scenario::load::load_all(&self.directory()?).map_err(|refusals| {
            let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("refused\n{}", all.join("\n"))
        })
    }
}

impl Selection {
    pub fn is_complete(&self) -> bool {
        self.filter.is_empty() && self.runtime.is_empty()
    }

    pub fn tasks(&self) -> Result<Vec<Task>> {
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
pub fn subject(given: Option<&PathBuf>, variable: &str, default: &Path) -> Result<Subject> {
    let path = match given {
        Some(path) => path.clone(),
        None => std::env::var_os(variable).map_or_else(|| default.to_path_buf(), PathBuf::from),
    };
    Subject::check(&path)
}

/// This program, and the directory its siblings were built into.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

pub fn built_monitor() -> Result<PathBuf> {
    Ok(program()?.with_file_name("conmon"))
}
