//! Judging differences: against what a scenario allows, what is known, and what must hold. The same for every table.

mod container;
mod descriptors;
pub mod diff;
pub mod fields;
mod known;
mod partial;
pub mod stale;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::host::traits::Traits;
use crate::observation::{INTERNAL, Observation};
use crate::scenario::{Allowed, Data, Expect, RuntimeKind, Side};
use crate::text::{glob, names};
use diff::Difference;
pub use known::{Divergence, Kind, load, parse};

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
            && self.known.iter().any(|entry| known(entry) && entry.is_about(path))
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

/// What a reference should have done and did not, known failings aside: what had to hold, what a scenario expects of both, and the
/// values it allows.
pub fn missed(rules: &Rules<'_>, reference: &Seen) -> Vec<String> {
    let unmet = reference.unmet.iter().filter(|unmet| !rules.excuses(REFERENCE, unmet));
    let mut missed: Vec<String> = unmet.map(|unmet| unmet.text.clone()).collect();
    let Some(data) = rules.data else { return missed };
    if !data.allowed.is_empty() {
        missed.extend(outside(data, &prepared(rules, &reference.value)));
    }
    let of_both = data.expect.iter().filter(|expect| expect.of == Side::Both);
    missed.extend(of_both.filter_map(|expect| fault(expect, &reference.value)));
    missed
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
        for (side, value) in [(REFERENCE, &a), (CANDIDATE, &b)] {
            let outside = rules.data.iter().flat_map(|data| outside(data, value));
            verdict.broken.extend(outside.map(|text| format!("{side}: {text}")));
        }
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
        if !rules.equals {
            gone_back(rules, &a, &b, &mut verdict);
        }
    }
    if let Some(data) = rules.data {
        // One of two equals that is judged alone does not know what the scenario is about.
        let judged = !rules.equals || reference.is_some();
        let sides = [(REFERENCE, reference), (CANDIDATE, Some(candidate))];
        let sides =
            sides.map(|(side, seen)| (side, seen, rules.excuses_field(side, container::FIELD)));
        let fault = judged.then(|| container::fault(data.no_container.as_deref(), &sides));
        verdict.broken.extend(fault.flatten());
        // Two that are known to do less need not have what only a good candidate has.
        if !rules.equals {
            let seen: Vec<&Value> = reference.into_iter().chain([candidate]).collect();
            verdict.broken.extend(fields::faults(data, &fields::Fields::of(&seen)));
        }
    }
    for expect in rules.data.into_iter().flat_map(|data| &data.expect) {
        if expect.of == Side::Both {
            let fault = reference.and_then(|reference| fault(expect, reference));
            verdict.broken.extend(fault.map(|text| format!("{REFERENCE}: {text}")));
        }
        if expect.of == Side::Both || !rules.equals {
            let fault = fault(expect, candidate);
            verdict.broken.extend(fault.map(|text| format!("{CANDIDATE}: {text}")));
        }
    }
    verdict
}

/// Notes where the candidate has what the reference has, although it is known to have something else there.
fn gone_back(rules: &Rules<'_>, reference: &Value, candidate: &Value, verdict: &mut Verdict) {
    let concerned: Vec<&Divergence> = rules
        .known
        .iter()
        .filter(|entry| entry.concerns(rules.name, rules.runtime, rules.reference))
        .collect();
    let mut look = |path: &str, both: Option<&Value>| {
        let missing = concerned.iter().find_map(|entry| Some((entry.missing(path, both)?, *entry)));
        if let Some((to, entry)) = missing.filter(|_| !is_allowed_path(rules, path)) {
            let found = both.map_or_else(|| "absent".to_owned(), Value::to_string);
            verdict.broken.push(format!(
                "candidate: {path} is {found} as the reference's, and should be `{to}`: {}",
                entry.why
            ));
        }
    };
    diff::same("", reference, candidate, &mut |path, both| look(path, Some(both)));
    let paths = concerned.iter().flat_map(|entry| entry.exact_paths());
    for path in paths.collect::<std::collections::BTreeSet<_>>() {
        if diff::lookup(reference, path).is_none() && diff::lookup(candidate, path).is_none() {
            look(path, None);
        }
    }
}

fn prepared(rules: &Rules<'_>, value: &Value) -> Value {
    rules.data.map_or_else(|| value.clone(), |data| compared(data, value))
}

/// An observation without what a scenario does not compare, its unordered lists sorted, its partial lines joined.
#[must_use]
pub fn compared(data: &Data, value: &Value) -> Value {
    let mut value = value.clone();
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

/// What of an observation is outside of what a scenario allows.
fn outside(data: &Data, value: &Value) -> Vec<String> {
    let outside = data.allowed.iter().filter_map(|allowed| {
        let found = diff::lookup(value, &allowed.path).unwrap_or(&Value::Null);
        let is_in = allowed.values.iter().any(|value| json(value) == *found);
        (!is_in).then(|| {
            let Allowed { path, why, .. } = allowed;
            format!("{path} is {found}, outside of what is allowed ({why})")
        })
    });
    outside.collect()
}

/// What is wrong with a field that a scenario expects something of, if anything is.
fn fault(expect: &Expect, value: &Value) -> Option<String> {
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
            Some(Value::Array(list)) => Some(list.len()),
            Some(Value::Object(map)) => Some(map.len()),
            Some(_) => None,
            None => Some(0),
        };
        length == Some(count)
    } else {
        number().is_some_and(|n| {
            expect.at_least.is_none_or(|least| n >= least)
                && expect.at_most.is_none_or(|most| n <= most)
        })
    };
    (!holds).then(|| {
        let found = found.map_or_else(|| "absent".to_string(), Value::to_string);
        format!("{} is {found}; expected {}", expect.path, wish(expect))
    })
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
mod tests;
