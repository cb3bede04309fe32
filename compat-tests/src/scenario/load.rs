//! Reading scenario files; what is wrong in one is said with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::check::Place;
use super::{Data, Line, Scenario, Step};

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
        let scenario = Self { name: name_of(path), path: path.to_path_buf(), data, steps };
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
