//! What is known to go wrong and why that is all that can be had: data, judged like the cases.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::text::glob;

/// One known outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Names of cases, with `*`.
    pub case: String,
    /// The problem, with `*`.
    pub problem: String,
    /// Why no monitor could do better, or why this one need not.
    pub why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// Reads the exceptions of a file.
///
/// # Errors
///
/// It cannot be read, or an entry lacks a key.
pub fn load(path: &Path) -> Result<Vec<Exception>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text)
        .with_context(|| format!("{} is no list of exceptions", path.display()))?;
    Ok(file.exception)
}

impl Exception {
    /// Whether it explains this problem of this case.
    pub fn explains(&self, case: &str, problem: &str) -> bool {
        // No separator: a star takes in slashes.
        glob(&self.case, case, '\0') && glob(&self.problem, problem, '\0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_explains_what_it_names() {
        let exception = Exception {
            case: "*/monitor/wait4-*/ECHILD/once".into(),
            problem: "wrong record: *".into(),
            why: "the status is gone".into(),
        };
        assert!(exception.explains("exec/monitor/wait4-2/ECHILD/once", "wrong record: exit file"));
        assert!(!exception.explains("exec/monitor/wait4-2/EINTR/once", "wrong record: exit file"));
        assert!(!exception.explains("exec/monitor/wait4-2/ECHILD/once", "hang: x"));
    }
}
