//! Judging differences: against what a scenario allows, what is known, and what must hold. The same for every table.

mod container;
mod descriptors;
pub mod diff;
pub mod fields;
mod partial;

use std::path::Path;

use anyhow::{Context, Result};
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::traits::Traits;
use crate::observation::{INTERNAL, Observation};
use crate::scenario::{Data, Expect, RuntimeKind, Side};
use crate::text::{glob, names};
use diff::Difference;

/// One entry of `fixtures/divergences.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Globs over the names of scenarios and of other tables' cases.
    pub scenario: OneOrMany,
    /// Globs over the paths of observations.
    pub path: OneOrMany,
    #[serde(default = "any_version")]
    pub reference: VersionReq,
    /// Only for references that do, or do not, keep the mode of a file they replace.
    pub keeps_mode: Option<bool>,
    pub runtime: Option<RuntimeKind>,
    pub kind: Kind,
    pub why: String,
    pub doc: String,
    /// Globs over both values, to say what exactly is known.
    pub from: Option<String>,
    pub to: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(one) => fits(one),
            Self::Many(many) => many.iter().any(|one| fits(one)),
        }
    }

    /// The patterns, for showing.
    pub fn joined(&self) -> String {
        match self {
            Self::One(one) => one.clone(),
            Self::Many(many) => many.join(", "),
        }
    }

    fn is_exact(&self) -> bool {
        match self {
            Self::One(one) => !one.contains('*'),
            Self::Many(many) => many.iter().all(|one| !one.contains('*')),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The reference does something wrong.
    Defect,
    /// The reference is of another version.
    Version,
    /// Ours does more, on purpose.
    Improvement,
    /// Nothing better can be had of ours in a case that is judged without a reference.
    Limit,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    divergence: Vec<Divergence>,
}

fn any_version() -> VersionReq {
    VersionReq::STAR
}

/// Reads the known divergences.
///
/// # Errors
///
/// The file, and where in it.
pub fn load(path: &Path) -> Result<Vec<Divergence>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

/// Reads known divergences from the text of a file.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Divergence>> {
    let file: File = toml::from_str(text)?;
    Ok(file.divergence)
}

impl Divergence {
    /// Whether the entry speaks about this case with this runtime.
    pub fn concerns(&self, case: &str, runtime: Option<RuntimeKind>, reference: &Traits) -> bool {
        self.names(case, runtime)
            && self.reference.matches(&reference.level)
            && self.keeps_mode.is_none_or(|keeps| keeps == reference.keeps_mode)
    }

    /// Whether the entry speaks about this case, whatever the reference.
    pub fn names(&self, case: &str, runtime: Option<RuntimeKind>) -> bool {
        self.scenario.any(|pattern| glob(pattern, case, '/'))
            && self.runtime.is_none_or(|only| runtime == Some(only))
    }

    fn covers(&self, difference: &Difference) -> bool {
        let text = |value: &Option<Value>| match value {
            None => "(absent)".to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let fits = |pattern: &Option<String>, value: &Option<Value>| {
            pattern.as_ref().is_none_or(|p| glob(p, &text(value), '\u{0}'))
        };
        self.path.any(|pattern| names(pattern, &difference.path))
            && fits(&self.from, &difference.reference)
            && fits(&self.to, &difference.candidate)
    }

    /// Whether one scenario decides if the entry is stale.
    pub fn is_exact(&self) -> bool {
        self.scenario.is_exact()
    }
}

/// What came of one comparison.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub unexpected: Vec<Difference>,
    /// Each with the index of the entry that explains it.
    pub explained: Vec<(Difference, usize)>,
    /// Failed expectations and values outside what is allowed, in words.
    pub broken: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.unexpected.is_empty() && self.broken.is_empty()
    }
}

/// What was seen of one monitor in one case.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seen {
    /// What is compared, field by field.
    pub value: Value,
    /// What had to hold, whatever the other monitor does, and did not.
    pub unmet: Vec<Unmet>,
}

impl Seen {
    /// What was seen of a monitor; a hang is what had to be otherwise.
    ///
    /// # Errors
    ///
    /// An observation that cannot be turned into data.
    pub fn of(observation: &Observation) -> Result<Self> {
        let mut unmet = Vec::new();
        if !observation.hang.is_empty() || observation.hangs() {
            let mut text = observation.unmet.join("; ");
            for line in &observation.hang {
                text.push('\n');
                text.push_str(line);
            }
            unmet.push(Unmet { path: "hang".to_owned(), text });
        }
        Ok(Self { value: serde_json::to_value(observation)?, unmet })
    }
}

/// Something that had to hold and did not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmet {
    /// The field it is about, by which a known divergence excuses the reference.
    pub path: String,
    pub text: String,
}

/// What to judge by.
pub struct Rules<'a> {
    pub name: &'a str,
    pub runtime: Option<RuntimeKind>,
    /// What a scenario says about judging.
    pub data: Option<&'a Data>,
    pub known: &'a [Divergence],
    pub reference: &'a Traits,
    /// Whether nothing may differ, and what only a good candidate does is not asked for.
    pub equals: bool,
}

impl Rules<'_> {
    /// Whether a monitor that is known to be wrong there may miss what had to hold: the reference, or both where they are equals.
    fn excuses(&self, side: &str, unmet: &Unmet) -> bool {
        self.excuses_field(side, &unmet.path)
    }

    fn excuses_field(&self, side: &str, path: &str) -> bool {
        let known = |entry: &Divergence| match self.equals {
            _ if entry.kind == Kind::Limit => false,
            true => entry.names(self.name, self.runtime),
            false => entry.concerns(self.name, self.runtime, self.reference),
        };
        (self.equals || side == REFERENCE)
            && self
                .known
                .iter()
                .any(|entry| known(entry) && entry.path.any(|pattern| names(pattern, path)))
    }
}

impl Rules<'_> {
    /// The entry by which a monitor that is judged alone may miss what had to hold.
    fn limit(&self, unmet: &Unmet) -> Option<(Difference, usize)> {
        let candidate = Some(Value::from(unmet.text.as_str()));
        let difference = Difference { path: unmet.path.clone(), reference: None, candidate };
        let index = self.known.iter().position(|entry| {
            entry.kind == Kind::Limit
                && entry.names(self.name, self.runtime)
                && entry.covers(&difference)
        })?;
        Some((difference, index))
    }
}

const REFERENCE: &str = "reference";
const CANDIDATE: &str = "candidate";

/// What a reference should have done and did not, known failings aside.
pub fn missed(rules: &Rules<'_>, reference: &Seen) -> Vec<String> {
    let missed = reference.unmet.iter().filter(|unmet| !rules.excuses(REFERENCE, unmet));
    missed.map(|unmet| unmet.text.clone()).collect()
}

/// Compares and judges. Without a reference only what must hold counts.
pub fn judge(rules: &Rules<'_>, reference: Option<&Seen>, candidate: &Seen) -> Verdict {
    let mut verdict = Verdict::default();
    for (side, seen) in [(REFERENCE, reference), (CANDIDATE, Some(candidate))] {
        let unmet = seen.into_iter().flat_map(|seen| &seen.unmet);
        for unmet in unmet.filter(|unmet| !rules.excuses(side, unmet)) {
            match rules.limit(unmet).filter(|_| reference.is_none()) {
                Some((difference, index)) => verdict.explained.push((difference, index)),
                None => verdict.broken.push(format!("{side}: {}", unmet.text)),
            }
        }
    }
    let (reference, candidate) = (reference.map(|seen| &seen.value), &candidate.value);
    if let Some(reference) = reference {
        let (a, b) = (prepared(rules, reference), prepared(rules, candidate));
        allowed(rules, &a, &b, &mut verdict);
        for difference in diff::compare(&a, &b) {
            if is_allowed_path(rules, &difference.path) {
                continue;
            }
            let entry = rules.known.iter().position(|entry| {
                !rules.equals
                    && entry.concerns(rules.name, rules.runtime, rules.reference)
                    && entry.covers(&difference)
            });
            match entry {
                Some(index) => verdict.explained.push((difference, index)),
                None => verdict.unexpected.push(difference),
            }
        }
    }
    if let Some(data) = rules.data {
        let sides = [(REFERENCE, reference), (CANDIDATE, Some(candidate))];
        let sides =
            sides.map(|(side, seen)| (side, seen, rules.excuses_field(side, container::FIELD)));
        verdict.broken.extend(container::fault(data.no_container.as_deref(), &sides));
        // Two that are known to do less need not have what only a good candidate has.
        if !rules.equals {
            let seen: Vec<&Value> = reference.into_iter().chain([candidate]).collect();
            verdict.broken.extend(fields::faults(data, &fields::Fields::of(&seen)));
        }
    }
    for expect in rules.data.into_iter().flat_map(|data| &data.expect) {
        if expect.of == Side::Both {
            if let Some(reference) = reference {
                check(expect, REFERENCE, reference, &mut verdict);
            }
        }
        if expect.of == Side::Both || !rules.equals {
            check(expect, CANDIDATE, candidate, &mut verdict);
        }
    }
    verdict
}

/// An observation without what is not compared, unordered lists sorted.
fn prepared(rules: &Rules<'_>, value: &Value) -> Value {
    let mut value = value.clone();
    let Some(data) = rules.data else { return value };
    let asked = |path: &str| data.also.iter().any(|pattern| names(pattern, path));
    diff::remove(&mut value, &|path, is_leaf| {
        let internal = INTERNAL.iter().any(|pattern| names(pattern, path));
        let ignored = data.ignore.iter().any(|excuse| names(&excuse.path, path));
        let on_the_way = |pattern: &String| !is_leaf && leads(path, pattern);
        !ignored && (!internal || asked(path) || data.also.iter().any(on_the_way))
    });
    at_lists("", "syslog", &mut value, &descriptors::name);
    let joined = data.joined.iter().map(|excuse| excuse.path.as_str());
    for path in joined.chain(data.has_terminal().then_some("logs.**.lines")) {
        at_lists("", path, &mut value, &partial::join);
    }
    for excuse in &data.unordered {
        at_lists("", &excuse.path, &mut value, &|list| list.sort_by_key(Value::to_string));
    }
    value
}

/// Whether a path may lie on the way to what a pattern names.
///
/// Keys may contain dots, so behind a `**` that can be any path.
fn leads(path: &str, pattern: &str) -> bool {
    let start = pattern.split("**").next().unwrap_or_default();
    let depth = path.split('.').count();
    let head: Vec<&str> = pattern.split('.').take(depth).collect();
    glob(&head.join("."), path, '.')
        || (start.len() < pattern.len() && glob(&format!("{start}**"), path, '.'))
}

/// Changes every list that a pattern names.
fn at_lists(path: &str, pattern: &str, value: &mut Value, change: &dyn Fn(&mut Vec<Value>)) {
    let join = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match value {
        Value::Array(list) if glob(pattern, path, '.') => change(list),
        Value::Array(list) => {
            for (index, inner) in list.iter_mut().enumerate() {
                at_lists(&join(&index.to_string()), pattern, inner, change);
            }
        }
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                at_lists(&join(key), pattern, inner, change);
            }
        }
        _ => {}
    }
}

fn is_allowed_path(rules: &Rules<'_>, path: &str) -> bool {
    rules.data.is_some_and(|data| data.allowed.iter().any(|allowed| names(&allowed.path, path)))
}

fn allowed(rules: &Rules<'_>, reference: &Value, candidate: &Value, verdict: &mut Verdict) {
    for allowed in rules.data.into_iter().flat_map(|data| &data.allowed) {
        let values: Vec<Value> = allowed.values.iter().map(json).collect();
        for (side, value) in [(REFERENCE, reference), (CANDIDATE, candidate)] {
            let found = diff::lookup(value, &allowed.path).cloned().unwrap_or(Value::Null);
            if !values.contains(&found) {
                verdict.broken.push(format!(
                    "{side}: {} is {found}, outside of what is allowed ({})",
                    allowed.path, allowed.why
                ));
            }
        }
    }
}

fn check(expect: &Expect, side: &str, value: &Value, verdict: &mut Verdict) {
    let found = diff::lookup(value, &expect.path);
    let text = match found {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let number = || match found {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::Array(list)) => Some(list.len() as f64),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let holds = if let Some(is) = &expect.is {
        found == Some(&json(is))
    } else if let Some(has) = &expect.has {
        found.is_some() && text.contains(has.as_str())
    } else if let Some(lacks) = &expect.lacks {
        !text.contains(lacks.as_str())
    } else if let Some(pattern) = &expect.glob {
        found.is_some() && glob(pattern, &text, '\u{0}')
    } else if let Some(values) = &expect.one_of {
        values.iter().any(|value| found == Some(&json(value)))
    } else if let Some(absent) = expect.absent {
        found.is_none() == absent
    } else if let Some(count) = expect.count {
        let length = match found {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        };
        length == count
    } else {
        number().is_some_and(|n| {
            expect.at_least.is_none_or(|least| n >= least)
                && expect.at_most.is_none_or(|most| n <= most)
        })
    };
    if !holds {
        let found = found.map_or_else(|| "absent".to_string(), Value::to_string);
        verdict.broken.push(format!(
            "{side}: {} is {found}; expected {}",
            expect.path,
            wish(expect)
        ));
    }
}

fn wish(expect: &Expect) -> String {
    let show = |value: &toml::Value| json(value).to_string();
    if let Some(is) = &expect.is {
        return show(is);
    }
    if let Some(values) = &expect.one_of {
        return format!("one of {}", values.iter().map(show).collect::<Vec<_>>().join(", "));
    }
    for (word, text) in [
        ("a text with", &expect.has),
        ("a text without", &expect.lacks),
        ("the form", &expect.glob),
    ] {
        if let Some(text) = text {
            return format!("{word} `{text}`");
        }
    }
    if let Some(count) = expect.count {
        return format!("{count} items");
    }
    match (expect.absent, expect.at_least, expect.at_most) {
        (Some(true), ..) => "nothing there".into(),
        (Some(false), ..) => "something there".into(),
        (None, least, most) => format!("from {least:?} to {most:?}"),
    }
}

fn json(value: &toml::Value) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_way_through_keys_with_dots() {
        for (path, pattern, expected) in [
            ("logs", "logs.**.text", true),
            ("logs.ctr.log", "logs.**.text", true),
            ("logs.ctr.log.1", "logs.**.text", true),
            ("files", "logs.**.text", false),
            ("monitors.main", "monitors.*.end", true),
            ("monitors.main.launch", "monitors.*.end", false),
            ("files.end", "files.end.exits/**", true),
        ] {
            assert_eq!(leads(path, pattern), expected, "{path} {pattern}");
        }
    }
}
