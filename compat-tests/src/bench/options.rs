//! The benchmark's command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::problem::Problem;

pub const HELP: &str = "\
usage: bench --reference PATH --candidate [LABEL=]PATH [--candidate ...] [OPTION...]
  --case NAME     only this case or group, such as `memory` or `log/tmpfs`; repeatable
  --list          name the cases
  --rounds N      instead of each case's own number
  --megabytes N   written in each throughput measurement (default 256)
  --json FILE     all samples      --html FILE   the tables as a page
  --tmpfs DIR     a directory in memory for logs (default /dev/shm)
  --disk DIR      a directory on a disk for logs (default /var/tmp)
  --runtime PATH  a real OCI runtime (default crun, from PATH)
  --standin PATH  the stand-in runtime (default: beside this program)
  --quick         one short round of everything, to see that the instrument works
Times and sizes are those of the monitors alone. Needs root for journald and a real runtime.";

/// A monitor to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub label: String,
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct Options {
    /// The reference first.
    pub subjects: Vec<Subject>,
    cases: Vec<String>,
    pub list: bool,
    pub rounds: Option<usize>,
    pub megabytes: u64,
    pub json: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub tmpfs: PathBuf,
    pub disk: PathBuf,
    pub runtime: PathBuf,
    pub standin: Option<PathBuf>,
    pub quick: bool,
}

impl Options {
    /// Whether the case `name`, or a group it belongs to, was asked for.
    pub fn wants(&self, name: &str) -> bool {
        let within = |group: &String| {
            name.strip_prefix(group.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.cases.is_empty() || self.cases.iter().any(within)
    }
}

/// Reads the command line; `None` when help was asked for.
pub fn parse(words: &[OsString]) -> Result<Option<Options>, Problem> {
    let mut options = Options {
        subjects: Vec::new(),
        cases: Vec::new(),
        list: false,
        rounds: None,
        megabytes: 256,
        json: None,
        html: None,
        tmpfs: "/dev/shm".into(),
        disk: "/var/tmp".into(),
        runtime: "crun".into(),
        standin: None,
        quick: false,
    };
    let mut reference = None;
    let mut candidates = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let missing = || Problem::new(format!("{} needs a value", word.to_string_lossy()));
            words.next().ok_or_else(missing)
        };
        match word.to_str().unwrap_or_default() {
            "--help" | "-h" => return Ok(None),
            "--quick" => options.quick = true,
            "--list" => options.list = true,
            "--reference" => reference = Some(subject(value()?, "reference")),
            "--candidate" => candidates.push(subject(value()?, "candidate")),
            "--case" => options.cases.push(value()?.to_string_lossy().into_owned()),
            "--rounds" => options.rounds = Some(number(value()?)?),
            "--megabytes" => options.megabytes = number(value()?)?,
            "--json" => options.json = Some(value()?.into()),
            "--html" => options.html = Some(value()?.into()),
            "--tmpfs" => options.tmpfs = value()?.into(),
            "--disk" => options.disk = value()?.into(),
            "--runtime" => options.runtime = value()?.into(),
            "--standin" => options.standin = Some(value()?.into()),
            other => return Err(Problem::new(format!("unknown option {other}\n{HELP}"))),
        }
    }
    options.subjects = reference.into_iter().chain(candidates).collect();
    if options.subjects.is_empty() && !options.list {
        return Err(Problem::new(format!("no monitor was named\n{HELP}")));
    }
    if options.quick {
        options.megabytes = options.megabytes.min(4);
    }
    Ok(Some(options))
}

/// `[LABEL=]PATH`; a path without a label keeps its role's name.
fn subject(word: &OsStr, role: &str) -> Subject {
    let text = word.to_string_lossy();
    match text.split_once('=') {
        Some((label, path)) if !label.contains('/') => {
            Subject { label: label.to_owned(), path: path.into() }
        }
        _ => Subject { label: role.to_owned(), path: word.into() },
    }
}

fn number<N: std::str::FromStr>(word: &OsStr) -> Result<N, Problem> {
    let text = word.to_string_lossy();
    text.parse().map_err(|_| Problem::new(format!("not a number: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Options {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&words).unwrap().unwrap()
    }

    #[test]
    fn the_reference_comes_first_and_labels_are_optional() {
        let options = parsed("--candidate static=/s --reference /r --candidate /c");
        let labels: Vec<&str> = options.subjects.iter().map(|s| s.label.as_str()).collect();
        assert_eq!(labels, ["reference", "static", "candidate"]);
        assert_eq!(options.subjects[1].path, PathBuf::from("/s"));
    }

    #[test]
    fn a_group_selects_its_cases_and_no_others() {
        let options = parsed("--reference /r --case log/tmpfs --case idle");
        assert!(options.wants("log/tmpfs/16") && options.wants("idle"));
        assert!(!options.wants("log/tmpfs2") && !options.wants("log/disk/16"));
    }

    #[test]
    fn a_run_without_monitors_or_with_an_unknown_word_is_refused() {
        assert!(parse(&["--quick".into()]).is_err());
        assert!(parse(&["--speed".into()]).is_err());
        assert!(parse(&["--rounds".into(), "many".into()]).is_err());
    }
}
