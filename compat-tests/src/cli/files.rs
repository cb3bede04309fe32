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
