//! Reading scenario files; what is wrong in one is said with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::check::Place;
use super::{Data, Line, Scenario, Step};
use crate::text::fnv;

/// Why a scenario file was refused.
#[derive(Debug)]
pub struct Refusal {
    pub path: PathBuf,
    /// Zero when the file itself is what is wrong.
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.reason)
    }
}

impl std::error::Error for Refusal {}

impl Scenario {
    /// Reads one file's text.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with the line to look at.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Refusal> {
        let refuse = |at: usize, reason: String| Refusal {
            path: path.to_path_buf(),
            line: text[..at.min(text.len())].matches('\n').count() + 1,
            reason,
        };
        let data: Data = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            refuse(at, error.message().to_string())
        })?;
        let mut steps = Vec::new();
        for line in &data.steps {
            let step = Step::parse(line.as_ref()).map_err(|reason| {
                refuse(line.span().start, format!("{reason}: `{}`", line.as_ref()))
            })?;
            steps.push(Line { text: line.as_ref().clone(), step });
        }
        let fingerprint = fingerprint(text);
        let scenario = Self {
            name: name_of(path),
            path: path.to_path_buf(),
            text: text.to_owned(),
            data,
            steps,
            fingerprint,
        };
        scenario.check().map_err(|fault| {
            let at = match &fault.place {
                Place::Step(index) => scenario.data.steps[*index].span().start,
                Place::Text(needle) => text.find(needle.as_str()).unwrap_or(0),
            };
            refuse(at, fault.reason)
        })?;
        Ok(scenario)
    }

    /// Reads one file.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; also for a file that cannot be read.
    pub fn load(path: &Path) -> Result<Self, Refusal> {
        let text = std::fs::read_to_string(path).map_err(|error| Refusal {
            path: path.to_path_buf(),
            line: 0,
            reason: error.to_string(),
        })?;
        Self::parse(path, &text)
    }
}

/// The keys that make an observation.
const MAKING: [&str; 8] =
    ["container", "create", "deadline", "exec", "monitor", "mounts", "standin", "steps"];

/// A sum over the values of the keys that make the observation, whatever their order and lay-out.
fn fingerprint(text: &str) -> String {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let mut all = String::new();
    for key in MAKING {
        if let Some(value) = table.get(key) {
            all.push_str(key);
            canonical(value, &mut all);
        }
    }
    fnv(all.as_bytes())
}

/// Writes a value so that equal ones are written alike.
fn canonical(value: &toml::Value, out: &mut String) {
    match value {
        toml::Value::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (key, value) in entries {
                out.push_str(&format!("{key:?}:"));
                canonical(value, out);
            }
            out.push('}');
        }
        toml::Value::Array(list) => {
            out.push('[');
            for value in list {
                canonical(value, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The last two parts of the path, without the extension.
fn name_of(path: &Path) -> String {
    let behaviour = path.file_stem().unwrap_or_default().to_string_lossy();
    let area = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    format!("{area}/{behaviour}")
}

/// Reads every scenario under a directory, in the order of their names.
///
/// # Errors
///
/// All refusals at once, so that one run shows every mistake.
pub fn load_all(root: &Path) -> Result<Vec<Scenario>, Vec<Refusal>> {
    let mut files = Vec::new();
    let unreadable = |error: std::io::Error| {
        vec![Refusal { path: root.to_path_buf(), line: 0, reason: error.to_string() }]
    };
    for area in std::fs::read_dir(root).map_err(unreadable)? {
        let area = area.map_err(unreadable)?.path();
        if area.is_dir() {
            for file in std::fs::read_dir(&area).map_err(unreadable)? {
                let file = file.map_err(unreadable)?.path();
                if file.extension().is_some_and(|e| e == "toml") {
                    files.push(file);
                }
            }
        }
    }
    files.sort();
    let (mut scenarios, mut refusals) = (Vec::new(), Vec::new());
    for file in files {
        match Scenario::load(&file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(scenarios) } else { Err(refusals) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_of_what_makes_the_observation() {
        let sum = |text: &str| {
            Scenario::parse(Path::new("a/b.toml"), text)
                .map(|scenario| scenario.fingerprint)
                .unwrap()
        };
        let plain = sum("why = 'x'\nsteps = ['run']\n[monitor]\nargs = ['-i']\numask = '0'\n");
        let judged = "why = 'y'\nrules = ['A-1']\nneeds = ['criu']\nsteps = [\n \"run\",\n]\n";
        let moved = "[monitor]\numask = '0'\nargs = ['-i']\n[[expect]]\npath = 'a'\nis = 1\n";
        assert_eq!(plain, sum(&format!("{judged}{moved}")));
        for other in [
            "why = 'x'\nsteps = ['run']\n[monitor]\nargs = ['-i']\numask = '1'\n",
            "why = 'x'\nsteps = ['run', 'wait exit']\n[monitor]\nargs = ['-i']\numask = '0'\n",
            "why = 'x'\nsteps = ['run']\nmounts = [{ at = '{tmp}', size = 1 }]\n[monitor]\nargs = ['-i']\numask = '0'\n",
        ] {
            assert_ne!(plain, sum(other), "{other}");
        }
    }
}
