//! A monitor under test, checked before anything runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use semver::Version;

#[derive(Debug, Clone)]
pub struct Subject {
    pub path: PathBuf,
    pub version: Version,
    /// All that `--version` prints, on one line.
    pub label: String,
}

impl Subject {
    /// Asks a binary for its version.
    ///
    /// # Errors
    ///
    /// Says why this is no monitor.
    pub fn check(path: &Path) -> Result<Self> {
        let path =
            path.canonicalize().with_context(|| format!("no monitor at {}", path.display()))?;
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(version) = text.strip_prefix("conmon version ") else {
            bail!("{} does not say `conmon version ...` but `{}`", path.display(), text.trim());
        };
        let version = version.split_whitespace().next().unwrap_or_default();
        let version = Version::parse(version)
            .with_context(|| format!("{}: `{version}` is no version", path.display()))?;
        let label = text.trim().replace('\n', ", ").replace("conmon version ", "");
        Ok(Self { path, version, label })
    }

    /// Whether this is one of ours and not a C program.
    pub fn is_ours(&self) -> bool {
        is_ours(&self.version)
    }

    /// Whether both are the same program, so that any difference is the suite's own.
    pub fn is_same(&self, other: &Self) -> bool {
        self.path == other.path
            || matches!((std::fs::read(&self.path), std::fs::read(&other.path)), (Ok(a), Ok(b)) if a == b)
    }
}

/// Our builds say so in their version: `2.2.1+rust.1`.
pub fn is_ours(version: &Version) -> bool {
    version.build.as_str().contains("rust")
}

/// The reference and the candidate of a test program: those that the environment names, else the distribution's and the one
/// beside `program`.
#[must_use]
pub fn named_by_environment(program: &Path) -> (PathBuf, PathBuf) {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let reference = named("CONMON_REFERENCE").unwrap_or_else(|| "/usr/bin/conmon".into());
    let candidate = named("CONMON_CANDIDATE").unwrap_or_else(|| program.with_file_name("conmon"));
    (reference, candidate)
}
