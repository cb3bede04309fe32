//! `run --bless`: what was seen becomes what is expected, in the scenario's own file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::files;
use super::selection::Extent;
use crate::case::{CaseResult, Outcome, Table};
use crate::scenario::{Data, Scenario};
use crate::stdout;
use crate::tables::scenarios;
use crate::text::names;
use crate::verdict::{self, diff};

/// What is written where nothing else is asked for: what a caller, a log's reader and a client are told, and how it all ends.
const USUAL: [&str; 12] = [
    "monitors.*.launch.status",
    "monitors.*.launch.stderr",
    "monitors.*.reports",
    "monitors.*.attach_reports",
    "monitors.*.end",
    "clients.*.stdout",
    "clients.*.stderr",
    "clients.*.end",
    "logs.**.text.*",
    "files.end.exits/*",
    "files.end.bundle/*/exit/*",
    "containers.*",
];

/// A wish to have expectations written.
pub struct Bless<'a> {
    paths: Vec<&'a str>,
}

impl<'a> Bless<'a> {
    /// Nothing if none is to be written; an empty path stands for what is usual.
    ///
    /// # Errors
    ///
    /// Expectations have no place for what is to be played, or it cannot be written.
    pub fn plan(
        asked: &'a [String],
        tables: &[Table],
        extent: Extent,
        equals: bool,
    ) -> Result<Option<Self>> {
        if asked.is_empty() {
            return Ok(None);
        }
        if let Some(table) = tables.iter().find(|table| table.name != scenarios::NAME) {
            bail!("--bless writes into scenarios, and {} is none: see --filter", table.name);
        }
        ensure!(
            extent.chosen,
            "--bless would change every scenario: choose with --filter or --scenarios"
        );
        ensure!(!equals, "--bless writes what a candidate of ours does: these two are equals");
        for case in tables.iter().flat_map(|table| &table.cases) {
            let file = case.file().context("this case has no file")?;
            files::can_report(file)?;
            let written = std::fs::OpenOptions::new().append(true).open(file);
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        let given = asked.iter().map(String::as_str).filter(|path| !path.is_empty());
        let usual = asked.iter().any(String::is_empty).then_some(USUAL);
        Ok(Some(Self { paths: usual.into_iter().flatten().chain(given).collect() }))
    }

    /// Writes into each scenario what all of its runs have seen of the candidate; false if one was refused.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, outcomes: &[Outcome]) -> Result<bool> {
        let mut scenarios: BTreeMap<&Path, Vec<&Outcome>> = BTreeMap::new();
        for outcome in outcomes {
            if let Some(file) = outcome.case.file() {
                scenarios.entry(file).or_default().push(outcome);
            }
        }
        let mut all = true;
        for (file, outcomes) in scenarios {
            let name = outcomes.first().map_or("", |outcome| outcome.case.name());
            match self.text(file, &outcomes) {
                Ok(Proposal { count: 0, .. }) => {
                    stdout::print_line(format_args!("nothing to add to {name}"));
                }
                Ok(Proposal { text, count, unsteady }) => {
                    files::report(file, &text)?;
                    let what = if count == 1 { "expectation" } else { "expectations" };
                    stdout::print_line(format_args!("{count} {what} added to {}", file.display()));
                    for path in unsteady {
                        stdout::print_line(format_args!("  not {path}: runs differ in it"));
                    }
                }
                Err(reason) => {
                    all = false;
                    stdout::print_line(format_args!("nothing added to {name}: {reason:#}"));
                }
            }
        }
        Ok(all)
    }

    /// The text of a scenario's file with what is new.
    fn text(&self, file: &Path, outcomes: &[&Outcome]) -> Result<Proposal> {
        let mut seen: Vec<&Value> = Vec::new();
        for outcome in outcomes {
            ensure!(outcome.is_good(), "{} is {}", outcome.case.key(), outcome.word());
            if let CaseResult::Judged(judged) = &outcome.result {
                seen.push(&judged.candidate.value);
            }
        }
        ensure!(!seen.is_empty(), "it was not played here");
        let old = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let scenario = Scenario::parse(file, &old)?;
        let played = outcomes.first().and_then(|outcome| outcome.case.fingerprint());
        ensure!(played == Some(&scenario.fingerprint), "the file has changed while it was played");
        let (steady, unsteady) = self.facts(&scenario.data, &seen);
        let mut text = old;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        for (path, value) in &steady {
            text.push_str(&format!(
                "[[expect]]\npath = {}\nis = {value}\n",
                toml::Value::from(path.as_str())
            ));
        }
        Scenario::parse(file, &text).context("what would be written is not understood")?;
        Ok(Proposal { text, count: steady.len(), unsteady })
    }

    /// The fields asked for that are judged, have no expectation yet, and were the same in every run; and those that were not.
    fn facts(&self, data: &Data, seen: &[&Value]) -> (Vec<(String, toml::Value)>, Vec<String>) {
        let compared: Vec<Value> = seen.iter().map(|raw| verdict::compared(data, raw)).collect();
        let mut leaves = Vec::new();
        for value in &compared {
            diff::same("", value, value, &mut |path, _| {
                if !leaves.iter().any(|known| known == path) {
                    leaves.push(path.to_owned());
                }
            });
        }
        leaves.retain(|path| {
            self.paths.iter().any(|pattern| names(pattern, path))
                && !data.allowed.iter().any(|allowed| names(&allowed.path, path))
                && !data.expect.iter().any(|expect| expect.path == *path)
        });
        let (mut steady, mut unsteady) = (Vec::new(), Vec::new());
        for path in leaves {
            // Sorted or joined for the comparison, which an expectation is not.
            let as_it_is = seen
                .iter()
                .zip(&compared)
                .all(|(raw, compared)| diff::lookup(raw, &path) == diff::lookup(compared, &path));
            let mut values = seen.iter().map(|raw| diff::lookup(raw, &path));
            let first = values.next().flatten();
            let same = values.all(|value| value == first);
            let value = first.and_then(|value| toml::Value::try_from(value).ok());
            match value.filter(|_| same && as_it_is) {
                Some(value) => steady.push((path, value)),
                None => unsteady.push(path),
            }
        }
        (steady, unsteady)
    }
}

struct Proposal {
    text: String,
    count: usize,
    unsteady: Vec<String>,
}
