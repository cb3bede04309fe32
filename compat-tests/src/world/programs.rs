//! The programs a world is made of.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::host::{self, Host};
use crate::scenario::RuntimeKind;

/// A library that breaks one thing a dynamically linked monitor does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    pub library: PathBuf,
    pub name: String,
}

/// The programs a world is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tools {
    /// The real runtime, or the stand-in.
    pub runtime: PathBuf,
    pub recorder: PathBuf,
    pub exit_recorder: PathBuf,
    pub payload: PathBuf,
    pub busybox: PathBuf,
}

/// Where the programs lie: beside this one, unless `CONMON_COMPAT_TOOLS` says where.
#[must_use]
pub fn directory(program: &Path) -> PathBuf {
    let beside = program.parent().map(Path::to_path_buf).unwrap_or_default();
    std::env::var_os("CONMON_COMPAT_TOOLS").map_or(beside, PathBuf::from)
}

/// Finds one of them.
///
/// # Errors
///
/// Names the program that is missing.
pub fn helper(program: &Path, name: &str) -> Result<PathBuf> {
    let path = directory(program).join(name);
    if path.exists() { Ok(path) } else { bail!("{} is missing", path.display()) }
}

/// Finds the programs of a world.
///
/// # Errors
///
/// Names the program that is missing.
pub fn tools(program: &Path, host: &Host, runtime: RuntimeKind) -> Result<Tools> {
    let runtime = match host.runtime(runtime) {
        Some(path) => path.to_path_buf(),
        None => helper(program, "standin-runtime")?,
    };
    Ok(Tools {
        runtime,
        recorder: helper(program, "recording-runtime")?,
        exit_recorder: helper(program, "exit-recorder")?,
        payload: helper(program, "payload")?,
        busybox: host::busybox().map_err(|lack| anyhow!("busybox: {lack}"))?,
    })
}
