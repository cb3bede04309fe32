//! The processes between the suite and a world.
//!
//! Each run gets two: the *keeper* owns the cgroups and a mount namespace, notices when the
//! suite is gone, and cleans up in any case; the *player* is process 1 of a pid namespace with
//! private `/proc`, `/run`, `/dev` and `/tmp`, so that ending it ends everything it started.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::setsid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::mounts::private_mounts;
use crate::host::{cgroup, exhaustion};
use crate::observe::process;
use crate::sys::{self, ChildSetup};

/// The hidden sub-commands of the suite's binary.
pub const KEEPER: &str = "__keep";
pub const TIDIER: &str = "__tidy";

/// Has a keeper play `request` by the hidden sub-command `player`, and returns what was seen.
///
/// # Errors
///
/// Only the suite's own failures: whatever a monitor does is an observation.
pub fn run<R: Serialize, S: DeserializeOwned>(
    suite: &Path,
    player: &str,
    request: &R,
) -> Result<S> {
    let mut command = Command::new(suite);
    command
        .args([KEEPER, player])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut keeper =
        command.spawn().with_context(|| format!("cannot start {}", suite.display()))?;
    let mut life = keeper.stdin.take().context("no pipe to the keeper")?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    life.write_all(&line)?;
    let mut stderr = keeper.stderr.take().context("no pipe from the keeper")?;
    let complaints = std::thread::Builder::new().spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let complaints = match complaints {
        Ok(thread) => thread,
        Err(error) => {
            drop(life);
            let _ = keeper.wait();
            return Err(error).context("cannot listen to the keeper");
        }
    };
    let mut output = Vec::new();
    keeper.stdout.take().context("no pipe from the keeper")?.read_to_end(&mut output)?;
    drop(life);
    let status = keeper.wait()?;
    let complaints = complaints.join().ok().and_then(Result::ok).unwrap_or_default();
    if !status.success() || output.is_empty() {
        let broke = format!("the world broke ({status}): {}", complaints.trim());
        if exhaustion::is_said(&complaints) {
            return Err(anyhow::Error::new(exhaustion::OutOfProcesses).context(broke));
        }
        bail!(broke);
    }
    serde_json::from_slice(&output).context("the player's record is unreadable")
}

/// The keeper's life. It knows two keys of a request: it fills in `cgroup`, and with a true `host_pids`
/// the world stays in the host's pid namespace.
///
/// # Errors
///
/// What kept the player from being started.
pub fn keep(player: &str) -> Result<ExitStatus> {
    // By itself: a suite that has something to do between fork and exec must copy its address space, which is large.
    setsid().context("no session of its own")?;
    let mut stdin = BufReader::new(std::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    let mut request: Value = serde_json::from_str(&line)?;
    let cgroup = cgroup::name(std::process::id());
    request["cgroup"] = cgroup.clone().into();
    let host_pids = request.get("host_pids").and_then(Value::as_bool).unwrap_or(false);

    unshare(CloneFlags::CLONE_NEWNS).context("no private mount namespace (are you root?)")?;
    private_mounts()?;
    cgroup::make_usable()?;
    if host_pids {
        set_child_subreaper(true)?;
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0("conmon-compat").arg(player).stdin(Stdio::piped());
    let mut player = start_held(&mut command, stdin, !host_pids)?;
    if let Some(mut pipe) = player.stdin.take() {
        serde_json::to_writer(&mut pipe, &request)?;
    }
    let status = player.wait()?;
    if host_pids {
        end_children();
    }
    cgroup::remove(&cgroup);
    Ok(status)
}

/// Starts `command` as process 1 of a pid namespace, unless it is to stay in ours. It is killed when `life` comes to its
/// end or this process does; in a namespace of its own, so is all that it has started.
///
/// # Errors
///
/// What kept the command from being started.
pub fn start_held(
    command: &mut Command,
    mut life: impl Read + Send + 'static,
    apart: bool,
) -> Result<Child> {
    // The watcher starts first: no thread can be made once the pid namespace is set.
    let (tell, told) = std::sync::mpsc::channel::<i32>();
    let watcher = std::thread::Builder::new().spawn(move || {
        let Ok(held) = told.recv() else { return };
        let _ = life.read_to_end(&mut Vec::new());
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(held), Signal::SIGKILL);
    });
    watcher.context("cannot watch whoever has called")?;
    if apart {
        unshare(CloneFlags::CLONE_NEWPID).context("no private pid namespace")?;
    }
    let setup = ChildSetup { parent_death_signal: Some(Signal::SIGKILL), ..ChildSetup::default() };
    sys::prepare(command, setup);
    let program = command.get_program().to_string_lossy().into_owned();
    let held = command.spawn().with_context(|| format!("cannot start {program}"))?;
    tell.send(i32::try_from(held.id())?)?;
    Ok(held)
}

/// Makes a hybrid host usable for crun, for this process and its children as long as they
/// live, whatever other programs mount and unmount meanwhile. Only where that is needed.
///
/// Call it before the first thread.
///
/// # Errors
///
/// A mount that failed.
pub fn hold_controllers() -> Result<()> {
    if !nix::unistd::geteuid().is_root() || cgroup::is_usable() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).context("no private mount namespace")?;
    private_mounts()?;
    cgroup::make_usable()
}

/// Gives controllers back that worlds took from the unified hierarchy.
///
/// The kernel drops a version 1 hierarchy at its last unmount unless a removed cgroup still
/// lingers in it; one more mount and unmount, later, makes up for that.
pub fn tidy(suite: &Path) {
    let _ = Command::new(suite).arg(TIDIER).stdin(Stdio::null()).status();
}

/// The tidier's life.
///
/// # Errors
///
/// A mount that failed.
pub fn tidy_here() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    private_mounts()?;
    cgroup::release_controllers()
}

/// Ends what a player in the host's pid namespace has left to us.
fn end_children() {
    loop {
        for child in process::children_of(std::process::id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL);
        }
        // What a child leaves behind becomes ours in turn.
        if nix::sys::wait::wait().is_err() {
            return;
        }
    }
}
