//! Scopes, where systemd makes the cgroups.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Has systemd put a monitor into a scope of its own, with what CRI-O asks for.
///
/// # Errors
///
/// What systemd said.
pub fn start_scope(id: &str, pid: i32) -> Result<()> {
    let manager = [
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
    ];
    let (scope, pid_text) = (scope(id), pid.to_string());
    // SIGPIPE has the number 13 everywhere.
    let unit = [
        &scope,
        "replace",
        "4",
        "PIDs",
        "au",
        "1",
        &pid_text,
        "KillSignal",
        "i",
        "13",
        "Slice",
        "s",
        "system.slice",
        "After",
        "as",
        "1",
        "crio.service",
        "0",
    ];
    run("busctl", &[&manager[..], &unit].concat())?;
    // The call returns before the job is done.
    let path = format!("/proc/{pid}/cgroup");
    let placed = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&scope));
    if crate::clock::until(std::time::Duration::from_secs(20), placed) {
        Ok(())
    } else {
        bail!("systemd does not place the monitor in {scope}")
    }
}

/// The monitor's scope.
#[must_use]
pub fn scope(id: &str) -> String {
    format!("crio-conmon-{id}.scope")
}

/// Runs a command of systemd's and returns what it says.
///
/// # Errors
///
/// It failed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
