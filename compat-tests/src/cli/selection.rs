//! The options that several sub-commands share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::case::Table;
use crate::host::subject::Subject;
use crate::runner;
use crate::scenario::RuntimeKind;
use crate::tables::{self, fixtures, scenarios};
use crate::verdict::{self, Divergence};

/// Where the suite's data is.
#[derive(Args, Clone)]
pub struct Place {
    /// The directory of the suite's data: scenarios, Podman's table, known divergences [default: the installed one, or the workspace's]
    #[arg(long, env = "CONMON_COMPAT_FIXTURES", value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Other scenarios than the suite's; nothing but these is played then
    #[arg(long, env = "CONMON_COMPAT_SCENARIOS", value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Which cases, with which runtimes.
#[derive(Args, Clone)]
pub struct Selection {
    #[command(flatten)]
    pub place: Place,
    /// Only cases in this area, or whose name fits: `attach`, `attach/*late*`, `crio`, `podman/run`; `exit@crun` is with that
    /// runtime only; may be repeated
    #[arg(long, short, value_name = "AREA/NAME")]
    filter: Vec<String>,
    /// Only this runtime; may be repeated
    #[arg(long, short, value_parser = runtime)]
    runtime: Vec<RuntimeKind>,
    /// Only this table: scenarios, crio, podman; may be repeated
    #[arg(long, short, value_name = "TABLE", value_parser = tables::NAMES)]
    table: Vec<String>,
}

/// How the cases are played.
#[derive(Args, Clone)]
pub struct Pace {
    /// How many cases run at once [default: as many as suit this machine]
    #[arg(long, short, value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Play everything so many times
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    repeat: usize,
}

impl Pace {
    pub fn is(&self) -> runner::Pace {
        runner::Pace { jobs: self.jobs, repeat: self.repeat }
    }
}

/// A number of which zero would mean that nothing is compared, and nothing fails.
fn at_least_one(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on".into()),
        Ok(number) => Ok(number),
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
    fn fixtures(&self) -> Result<PathBuf> {
        fixtures::find(self.fixtures.as_deref(), &program()?)
    }

    /// The known divergences that lie with the data.
    pub fn divergences(&self) -> Result<Vec<Divergence>> {
        let path = match &self.scenarios {
            Some(scenarios) => scenarios.with_file_name("divergences.toml"),
            None => self.fixtures()?.join("divergences.toml"),
        };
        if path.exists() { verdict::load(&path) } else { Ok(Vec::new()) }
    }
}

impl Selection {
    /// Every case there is.
    pub fn everything(place: Place) -> Self {
        Self { place, filter: Vec::new(), runtime: Vec::new(), table: Vec::new() }
    }

    /// Whether everything of every table is played.
    pub fn is_complete(&self) -> bool {
        self.filter.is_empty() && self.runtime.is_empty() && self.table.is_empty()
    }

    /// The same, of one table only.
    pub fn of_table(&self, name: &str) -> Self {
        Self { table: vec![name.to_owned()], ..self.clone() }
    }

    /// The tables with the cases that are wanted; none is empty.
    pub fn tables(&self) -> Result<Vec<Table>> {
        let runtimes = match self.runtime.as_slice() {
            [] => &[RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin],
            some => some,
        };
        let mut all = Vec::new();
        if let Some(directory) = &self.place.scenarios {
            all.push(scenarios::table(directory, runtimes)?);
        } else {
            let fixtures = self.place.fixtures()?;
            for name in tables::NAMES {
                if self.table.is_empty() || self.table.iter().any(|wanted| wanted == name) {
                    all.push(tables::table(name, &fixtures, runtimes)?);
                }
            }
        }
        if !self.filter.is_empty() {
            for table in &mut all {
                table.cases.retain(|case| {
                    self.filter.iter().any(|filter| tables::fits(filter, case.as_ref()))
                });
            }
        }
        all.retain(|table| !table.cases.is_empty());
        if all.is_empty() {
            let (filter, runtimes) =
                (self.filter.join(", "), format!("{runtimes:?}").to_lowercase());
            bail!("no case fits `{filter}` with {runtimes}; `list` shows them all");
        }
        Ok(all)
    }
}

/// The monitor an option, a variable or the build names.
pub fn subject(given: Option<&PathBuf>, default: &Path) -> Result<Subject> {
    Subject::check(given.map_or(default, PathBuf::as_path))
}

/// This program; its helpers lie beside it.
pub fn program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program")?;
    program.canonicalize().with_context(|| format!("cannot find {}", program.display()))
}

/// The monitor of the same build.
pub fn built_monitor() -> Result<PathBuf> {
    Ok(program()?.with_file_name("conmon"))
}
