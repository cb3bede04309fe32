//! The options that several sub-commands share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::files;

use crate::case::Table;
use crate::host::subject::Subject;
use crate::runner;
use crate::scenario::RuntimeKind;
use crate::tables::{self, faults, fixtures, scenarios};
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
    /// Only this table: scenarios, crio, podman, faults; may be repeated. Faults take minutes: they are played only if named here or
    /// by a filter, as `faults/exec`
    #[arg(long, short, value_name = "TABLE", value_parser = tables::ALL)]
    table: Vec<String>,
    /// Only the N-th of M parts of the cases, for machines that share the work
    #[arg(long, value_name = "N/M", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// Only the cases that failed in this report, a file that `--json` wrote
    #[arg(long, value_name = "FILE")]
    rerun_failed: Option<PathBuf>,
}

/// How much a selection is of what there is.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Every case that any known divergence concerns.
    pub complete: bool,
    /// Somebody has said which cases are meant.
    pub chosen: bool,
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

/// `2/3` as the second of three.
fn shard(word: &str) -> Result<(usize, usize), String> {
    let parts = word.split_once('/').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
    parts.filter(|(n, m)| (1..=*m).contains(n)).ok_or_else(|| "write N/M, as 2/3".to_owned())
}

/// The keys of the cases that failed, as `--json` wrote them.
fn failed(report: &Path) -> Result<BTreeSet<String>> {
    let report: Value = files::read(report)?;
    let outcomes = report["outcomes"].as_array().context("this is no report of --json")?;
    let failed = outcomes.iter().filter(|outcome| {
        outcome["outcome"].as_str().is_some_and(|word| ["DIFFERS", "broken"].contains(&word))
    });
    let keys = failed.filter_map(|outcome| {
        let name = outcome["case"].as_str()?;
        let runtime = outcome["runtime"].as_str();
        Some(runtime.map_or(name.to_owned(), |runtime| format!("{name} {runtime}")))
    });
    Ok(keys.collect())
}

/// The nearest of some words, as a question; nothing when none is near.
#[must_use]
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> String {
    let rated = words.map(|known| (strsim::jaro_winkler(word, known), known));
    let best = rated.filter(|(near, _)| *near > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"))
}

fn runtime(word: &str) -> Result<RuntimeKind, String> {
    match word {
        "crun" => Ok(RuntimeKind::Crun),
        "runc" => Ok(RuntimeKind::Runc),
        "standin" => Ok(RuntimeKind::Standin),
        _ => {
            let near = nearest(word, ["crun", "runc", "standin"].into_iter());
            Err(format!("one of crun, runc, standin{near}"))
        }
    }
}

impl Place {
    /// Where the scenarios lie, or all data.
    pub fn data(&self) -> Result<PathBuf> {
        self.scenarios.clone().map_or_else(|| self.fixtures(), Ok)
    }

    fn fixtures(&self) -> Result<PathBuf> {
        fixtures::find(self.fixtures.as_deref(), &program()?)
    }

    /// The known divergences that lie with the data.
    pub fn divergences(&self) -> Result<Vec<Divergence>> {
        let path = match &self.scenarios {
            Some(scenarios) => scenarios.with_file_name("divergences.toml"),
            None => self.fixtures()?.join("divergences.toml"),
        };
        let mut known = Vec::new();
        for path in [path.with_file_name("faults.toml"), path] {
            if path.exists() {
                known.extend(verdict::load(&path)?);
            }
        }
        Ok(known)
    }
}

impl Selection {
    /// Every case there is.
    pub fn everything(place: Place) -> Self {
        let (filter, runtime, table) = (Vec::new(), Vec::new(), Vec::new());
        Self { place, filter, runtime, table, shard: None, rerun_failed: None }
    }

    /// Whether all cases are played that any entry of the known divergences concerns.
    fn is_complete(&self) -> bool {
        // Entries of faults concern no other table, and no others concern it.
        let table = self.table.is_empty() || self.table == [faults::NAME];
        self.filter.is_empty()
            && self.runtime.is_empty()
            && table
            && self.shard.is_none()
            && self.rerun_failed.is_none()
    }

    /// How much of what there is.
    pub fn extent(&self) -> Extent {
        let named = !self.filter.is_empty() || self.rerun_failed.is_some();
        Extent { complete: self.is_complete(), chosen: named || self.place.scenarios.is_some() }
    }

    /// Whether cases of this table are asked for.
    fn wants(&self, table: &str) -> bool {
        match self.table.as_slice() {
            [] if table == faults::NAME => {
                let mut areas =
                    self.filter.iter().filter_map(|filter| filter.split(['/', '@']).next());
                areas.any(|area| area == table)
            }
            [] => true,
            some => some.iter().any(|wanted| wanted == table),
        }
    }

    /// The same, of one table only.
    pub fn of_table(&self, name: &str) -> Self {
        Self { table: vec![name.to_owned()], ..self.clone() }
    }

    /// The same, of one table only, whose name filters may leave out.
    pub fn within(&self, name: &str) -> Self {
        let start = format!("{name}/");
        let named = |filter: &String| match filter.starts_with(&start) || filter == name {
            true => filter.clone(),
            false => format!("{start}{filter}"),
        };
        Self { filter: self.filter.iter().map(named).collect(), ..self.of_table(name) }
    }

    /// The tables with the cases that are wanted; none is empty. Faults are those of the build's monitor.
    pub fn tables(&self) -> Result<Vec<Table>> {
        self.tables_of(None)
    }

    /// The same, with faults of this monitor.
    pub fn tables_of(&self, monitor: Option<&PathBuf>) -> Result<Vec<Table>> {
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
                if self.wants(name) {
                    all.push(tables::table(name, &fixtures, runtimes)?);
                }
            }
            if self.wants(faults::NAME) {
                let monitor = subject(monitor, &built_monitor()?)?;
                all.push(faults::table(&program()?, &monitor.path)?);
            }
        }
        let names: BTreeSet<String> = all.iter().flat_map(names).collect();
        for filter in &self.filter {
            let pattern = filter.split('@').next().unwrap_or_default();
            let mut cases = all.iter().flat_map(|table| &table.cases);
            if !cases.any(|case| tables::fits(filter, case.as_ref())) {
                let near = nearest(pattern, names.iter().map(String::as_str));
                let runtimes = format!("{runtimes:?}").to_lowercase();
                bail!("no case fits `{filter}` with {runtimes}{near}; `list` shows them all");
            }
        }
        if !self.filter.is_empty() {
            for table in &mut all {
                table.cases.retain(|case| {
                    self.filter.iter().any(|filter| tables::fits(filter, case.as_ref()))
                });
            }
        }
        if let Some(report) = &self.rerun_failed {
            let failed = failed(report).with_context(|| format!("in {}", report.display()))?;
            anyhow::ensure!(!failed.is_empty(), "nothing failed in {}", report.display());
            for table in &mut all {
                table.cases.retain(|case| failed.contains(&case.key()));
            }
        }
        if let Some((wanted, parts)) = self.shard {
            let mut number = 0;
            for table in &mut all {
                table.cases.retain(|_| {
                    number += 1;
                    (number - 1) % parts == wanted - 1
                });
            }
        }
        all.retain(|table| !table.cases.is_empty());
        anyhow::ensure!(!all.is_empty(), "no case is left; `list` shows them all");
        Ok(all)
    }
}

/// The names and areas of a table's cases.
fn names(table: &Table) -> BTreeSet<String> {
    let names = table.cases.iter().flat_map(|case| [case.name(), case.area()]);
    names.map(str::to_owned).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_part_that_there_is() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for word in ["0/3", "4/3", "1/0", "2", "a/b", "-1/2"] {
            assert!(shard(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let words = ["attach", "logging", "exec"];
        assert_eq!(nearest("atach", words.into_iter()), "; did you mean `attach`?");
        assert_eq!(nearest("zzz", words.into_iter()), "");
    }
}
