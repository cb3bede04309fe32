//! What CRI-O learns about a monitor before it uses it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use semver::Version;

/// A monitor as CRI-O has probed it.
#[derive(Clone, Debug)]
pub struct Probe {
    pub version: Version,
    /// Knows `--sync` for ExecSync.
    pub sync: bool,
    /// Knows `--log-global-size-max`.
    pub size_limit: bool,
}

impl Probe {
    /// Asks for the version, and where that is not enough for the help text.
    ///
    /// # Errors
    ///
    /// CRI-O would not start with this monitor.
    pub fn of(monitor: &Path) -> Result<Self> {
        let version = parse(&combined(monitor, "--version")?)?;
        let size_limit = version >= Version::new(2, 1, 2)
            || combined(monitor, "--help")?.contains("--log-global-size-max");
        Ok(Self { sync: version >= Version::new(2, 0, 19), size_limit, version })
    }
}

/// Standard output and error of a successful call, together.
pub fn combined(monitor: &Path, option: &str) -> Result<String> {
    let output = Command::new(monitor)
        .arg(option)
        .output()
        .with_context(|| format!("cannot run {}", monitor.display()))?;
    if !output.status.success() {
        bail!("{option}: {}", output.status);
    }
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).with_context(|| format!("{option}: not UTF-8"))
}

/// Takes the third word as a strict semantic version.
fn parse(text: &str) -> Result<Version> {
    let word = text.split_whitespace().nth(2).context("conmon version output too short")?;
    Version::parse(word).with_context(|| format!("`{word}` is no semantic version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_third_word_strictly() {
        assert_eq!(parse("conmon version 2.1.12\ncommit: x\n").unwrap(), Version::new(2, 1, 12));
        assert!(parse("conmon version 2.2\n").is_err());
        assert!(parse("conmon version v2.2.1\n").is_err());
        assert!(parse("conmon 2.2.1\n").is_err());
    }
}
