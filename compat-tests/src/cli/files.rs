//! Observations as files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::case::{CaseResult, Outcome};

/// Writes both observations of an outcome below a directory.
pub fn keep(directory: &Path, outcome: &Outcome) -> Result<()> {
    let CaseResult::Judged(judged) = &outcome.result else { return Ok(()) };
    let key = outcome.case.key();
    if let Some(reference) = &judged.reference {
        write(&file(directory, &key, ".reference"), &reference.value)?;
    }
    write(&file(directory, &key, ".candidate"), &judged.candidate.value)
}

/// `DIR/area/behaviour.runtime.json`
pub fn file(directory: &Path, key: &str, side: &str) -> PathBuf {
    directory.join(format!("{}{side}.json", key.replace(' ', ".")))
}

/// Writes a report: beside its place and renamed, so that no half of one is ever read. What is no file is written as it is.
pub fn report(path: &Path, content: &str) -> Result<()> {
    let written = match beside(path) {
        Some(temporary) => std::fs::write(&temporary, content)
            .and_then(|()| std::fs::rename(&temporary, path))
            .inspect_err(|_| drop(std::fs::remove_file(&temporary))),
        None => std::fs::write(path, content),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Finds out whether a report can be written, and leaves everything as it is.
pub fn can_report(path: &Path) -> Result<()> {
    let tried = match beside(path) {
        Some(temporary) => {
            std::fs::write(&temporary, "").and_then(|()| std::fs::remove_file(&temporary))
        }
        None => std::fs::OpenOptions::new().append(true).open(path).map(drop),
    };
    tried.with_context(|| format!("cannot write {}", path.display()))
}

/// A place beside a file, in the same directory; nothing where there is something else than a file.
fn beside(path: &Path) -> Option<PathBuf> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return None;
    }
    let name = path.file_name()?.to_string_lossy();
    Some(path.with_file_name(format!(".{name}.{}", std::process::id())))
}

pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_its_place_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.xml");
        std::fs::write(&path, "old").unwrap();
        let old = std::fs::File::open(&path).unwrap();
        can_report(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        report(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        // Whoever had it open still reads the whole of the old one.
        assert_eq!(std::io::read_to_string(old).unwrap(), "old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_report_may_be_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("real"), &link).unwrap();
        std::fs::write(directory.path().join("real"), "").unwrap();
        for path in [Path::new("/dev/null"), &link] {
            can_report(path).unwrap();
            report(path, "x").unwrap();
        }
        assert!(link.is_symlink());
        let nowhere = directory.path().join("no/report.xml");
        assert!(can_report(&nowhere).is_err() && report(&nowhere, "x").is_err());
    }
}
