//! Cases as data: what is run, what the host must have for it, and what may differ.

use std::path::Path;

use regex_lite::Regex;
use semver::VersionReq;
use serde::Deserialize;

/// One row of the table, as written in `fixtures/podman/AREA.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence about behaviour, in words joined by hyphens.
    pub name: String,
    /// What a user would lose if it did not hold.
    pub why: String,
    /// A bash script; `podman` is configured for the world, and the functions of `prelude.sh` are there.
    pub run: String,
    /// Lines that must be in standard output with either monitor: the case does what it says.
    #[serde(default)]
    pub expect: Vec<String>,
    /// What the host must have; see [`super::fact::Fact`].
    #[serde(default)]
    pub needs: Vec<super::fact::Fact>,
    /// Which Podman the case is for, such as `>=5`.
    #[serde(default)]
    pub podman: Option<VersionReq>,
    /// Runs the script as an ordinary user.
    #[serde(default)]
    pub rootless: bool,
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
    /// Compares lines as a set, where their order is nobody's promise.
    #[serde(default)]
    pub any_order: bool,
    /// Values that differ from run to run, by regular expression.
    #[serde(default)]
    pub mask: Vec<Mask>,
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub area: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    pub pattern: String,
    #[serde(rename = "as")]
    pub name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

fn default_timeout_s() -> u64 {
    120
}

impl Case {
    /// Area and name, by which a case is chosen and reported.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.area, self.name)
    }
}

/// Reads all tables of a directory, in the order of their names.
///
/// # Errors
///
/// What is wrong, with the file: not readable, not TOML, an unknown key, a bad pattern, or a name given twice.
pub fn read_all(directory: &Path) -> Result<Vec<Case>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files: Vec<_> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in files {
        let at = |reason: String| format!("{}: {reason}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| at(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
        let area = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for mut case in file.case {
            case.area.clone_from(&area);
            check(&case, &cases).map_err(at)?;
            cases.push(case);
        }
    }
    Ok(cases)
}

fn check(case: &Case, before: &[Case]) -> Result<(), String> {
    if before.iter().any(|other| other.id() == case.id()) {
        return Err(format!("{}: there are two of this name", case.id()));
    }
    if case.name.is_empty()
        || !case.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        return Err(format!(
            "{:?}: a name consists of small letters, digits and hyphens",
            case.name
        ));
    }
    if case.expect.is_empty() {
        return Err(format!("{}: expects nothing, so it could not fail", case.id()));
    }
    for mask in &case.mask {
        Regex::new(&mask.pattern)
            .map_err(|error| format!("{}: {}: {error}", case.id(), mask.pattern))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Case>, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("area.toml"), text).unwrap();
        read_all(directory.path())
    }

    const GOOD: &str = "[[case]]\nname = 'a'\nwhy = 'w'\nrun = 'true'\nexpect = ['x']\n";

    #[test]
    fn names_a_case_by_area_and_name() {
        assert_eq!(parse(GOOD).unwrap()[0].id(), "area/a");
    }

    #[test]
    fn refuses_an_unknown_key_and_says_where() {
        let error = parse(&format!("{GOOD}expects = 1\n")).unwrap_err();
        assert!(error.contains("area.toml") && error.contains("expects"), "{error}");
    }

    #[test]
    fn refuses_a_name_given_twice() {
        assert!(parse(&format!("{GOOD}{GOOD}")).unwrap_err().contains("two of this name"));
    }

    #[test]
    fn refuses_a_case_that_cannot_fail() {
        let text = GOOD.replace("expect = ['x']", "");
        assert!(parse(&text).unwrap_err().contains("expects nothing"));
    }

    #[test]
    fn refuses_a_bad_pattern() {
        let text = format!("{GOOD}mask = [{{ pattern = '(', as = 'X' }}]\n");
        assert!(parse(&text).unwrap_err().contains("area/a"));
    }
}
