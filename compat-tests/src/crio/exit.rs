//! The end of a container: the watch on the exits directory, the files beside it, and stopping.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::container::Container;
use super::node::Node;
use super::watch::Operation;
use super::world;
use crate::clock::until;
use crate::observe::process;
use crate::scenario::RuntimeKind;
use crate::text::escape;

/// What CRI-O knows of a container that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub oom_killed: bool,
}

impl Node {
    /// Waits for the container's file in the exits directory and reads what lies beside it at that moment.
    ///
    /// # Errors
    ///
    /// No file, or one that is no number.
    pub fn exit_of(&mut self, container: &Container) -> Result<Exit> {
        let mut event = None;
        until(self.limit, || {
            reap_strays();
            event = self.exits.next(&container.id);
            event.is_some()
        });
        let operation = event.context("nothing is created in the exits directory")?;
        let at_once = fs::read(container.persist.join("exit"));
        let file = fs::read(world::exit_file(&container.id));
        let fact = |what: &str| format!("{}: {what}", container.name);
        self.facts.holds(fact("the exits file is created"), operation == Operation::Create);
        self.facts.holds(fact("the exit code is there by then"), at_once.is_ok());
        // It backs off and tries again, as CRI-O does.
        let again = || fs::read(container.persist.join("exit")).ok();
        let mut code = at_once.ok();
        until(self.limit, || {
            code = code.take().or_else(again);
            code.is_some()
        });
        let code = code.context("no exit code beside the container")?;
        let same = file.is_ok_and(|file| file == code);
        self.facts.holds(fact("both exit files agree"), same);
        self.note_state(container)?;
        let code = std::str::from_utf8(&code)
            .ok()
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("the exit code is {:?}", escape(&code)))?;
        let oom_killed = container.bundle.join("oom").exists();
        fs::remove_file(world::exit_file(&container.id)).context("the exits file is gone")?;
        Ok(Exit { code, oom_killed })
    }

    fn note_state(&mut self, container: &Container) -> Result<()> {
        if self.kind == RuntimeKind::Standin {
            return Ok(());
        }
        let state = self.runtime_does(&["state", &container.id])?;
        let state: serde_json::Value = serde_json::from_str(&state)?;
        let status = state.get("status").and_then(|status| status.as_str()).unwrap_or_default();
        self.facts.must(format!("{}: state", container.name), status, "stopped");
        Ok(())
    }

    /// Waits for the exit, which must be `code`, and removes the container.
    ///
    /// # Errors
    ///
    /// As [`Node::exit_of`].
    pub fn ends_with(&mut self, container: &Container, code: i32) -> Result<()> {
        let exit = self.exit_of(container)?;
        self.facts.must(format!("{}: exit code", container.name), exit.code, code);
        self.facts.must(format!("{}: OOM killed", container.name), exit.oom_killed, false);
        self.remove(container)
    }

    /// Removes a container that has ended, and notes how its monitor ended and what it has left.
    ///
    /// # Errors
    ///
    /// What the runtime said.
    pub fn remove(&mut self, container: &Container) -> Result<()> {
        let end = self.end_of(container.monitor);
        self.facts.note(format!("{}: end of the monitor", container.name), end);
        if self.kind != RuntimeKind::Standin {
            self.runtime_does(&["delete", &container.id])?;
        }
        let attach = container.bundle.join("attach");
        let socket = fs::symlink_metadata(attach).is_ok();
        self.facts.note(format!("{}: attach socket is left", container.name), socket);
        let log = self.log(container).complaints();
        self.facts.must(format!("{}: kubelet complains of the log", container.name), log, "none");
        Ok(())
    }

    /// Sends a signal through the runtime, as StopContainer does.
    ///
    /// # Errors
    ///
    /// What the runtime said.
    pub fn signal(&self, container: &Container, signal: &str) -> Result<()> {
        self.runtime_does(&["kill", &container.id, signal]).map(drop)
    }

    /// Stops a container that does nothing on its own, and removes it.
    ///
    /// # Errors
    ///
    /// As [`Node::exit_of`].
    pub fn kill(&mut self, container: &Container) -> Result<()> {
        self.signal(container, "KILL")?;
        self.ends_with(container, 137)
    }

    /// Whether the container's process is still there after `time`.
    #[must_use]
    pub fn outlives(&self, container: &Container, time: Duration) -> bool {
        !until(time, || kill(Pid::from_raw(container.pid), None).is_err())
    }

    /// Sends a signal to a container's monitor.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn signal_monitor(&self, container: &Container, signal: Signal) -> Result<()> {
        if !self.monitor_lives(container) {
            bail!("the monitor is gone");
        }
        Ok(kill(Pid::from_raw(container.monitor), signal)?)
    }
}

/// Does process 1's duty for all but the monitors, whose ends are looked at elsewhere: a pid namespace does not end as long as
/// one of its processes is not reaped.
fn reap_strays() {
    for pid in process::children_of(std::process::id()) {
        let monitor = process::comm(pid).is_some_and(|comm| comm == "conmon");
        if process::state(pid) == Some('Z') && !monitor {
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}
