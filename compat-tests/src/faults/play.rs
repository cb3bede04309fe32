//! The way to the stage: one process for each life.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::faults::outcome::{Fault, Outcome, Request};

/// Has the stage play one life.
///
/// # Errors
///
/// The stage cannot be started or dies; what the monitor does is an outcome.
pub fn play(stage: &Path, monitor: &Path, life: &str, fault: Option<&Fault>) -> Result<Outcome> {
    let request = Request {
        monitor: monitor.display().to_string(),
        life: life.to_owned(),
        fault: fault.cloned(),
    };
    let mut child = Command::new(stage)
        .arg("stage")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", stage.display()))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(&serde_json::to_vec(&request)?)?;
    }
    let output = child.wait_with_output()?;
    if output.stdout.is_empty() {
        bail!(
            "the stage died ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).context("the stage's outcome is unreadable")
}
