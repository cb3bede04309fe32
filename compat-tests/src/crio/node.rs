//! A machine that CRI-O runs on, for the length of one case.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::facts::Facts;
use super::request::Request;
use super::version::Probe;
use super::watch::Watch;
use super::{launch, world};
use crate::clock::{now, until};
use crate::observe::process;
use crate::scenario::RuntimeKind;
use crate::world::paths;

/// What CRI-O has and knows.
pub struct Node {
    pub facts: Facts,
    pub monitor: PathBuf,
    pub probe: Probe,
    pub runtime: PathBuf,
    pub kind: RuntimeKind,
    /// The cgroup everything of this case lies in.
    pub cgroup: String,
    /// systemd makes the cgroups.
    pub systemd: bool,
    /// How long anything may take.
    pub limit: Duration,
    /// The exits directory.
    pub exits: Watch,
    /// When the case began, in nanoseconds since the epoch.
    pub began: i128,
}

impl Node {
    /// # Errors
    ///
    /// CRI-O could not start here.
    pub fn new(request: &Request) -> Result<Self> {
        let monitor = PathBuf::from(paths::MONITOR);
        let mut facts = Facts::default();
        facts.name(&request.cgroup, "[CGROUP]");
        Ok(Self {
            facts,
            probe: Probe::of(&monitor)?,
            monitor,
            runtime: world::runtime(request),
            kind: request.runtime,
            cgroup: request.cgroup.clone(),
            systemd: request.host_pids,
            limit: Duration::from_secs(request.limit_s),
            exits: Watch::new(Path::new(world::EXITS))?,
            began: now(),
        })
    }

    pub fn until(&self, fact: impl FnMut() -> bool) -> bool {
        until(self.limit, fact)
    }

    /// The id of the container that goes by `name`; under systemd no other world has it.
    #[must_use]
    pub fn id(&self, name: &str) -> String {
        let seed = if self.systemd { format!("{name}{}", self.cgroup) } else { name.to_owned() };
        let hex: String = seed.bytes().map(|byte| format!("{byte:02x}")).collect();
        let kept = hex.get(hex.len().saturating_sub(64)..).unwrap_or_default();
        format!("{kept:0<64}")
    }

    /// Calls the runtime, as CRI-O does for everything but create and ExecSync.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn call_runtime(&self, words: &[&str]) -> Result<Output> {
        let mut arguments = vec![format!("--root={}", paths::RUNTIME_ROOT)];
        if self.systemd {
            arguments.push("--systemd-cgroup".to_owned());
        }
        arguments.extend(words.iter().map(|&word| word.to_owned()));
        launch::output(&self.runtime, &arguments)
            .with_context(|| format!("cannot run {}", self.runtime.display()))
    }

    /// The same, for a call that has to succeed.
    ///
    /// # Errors
    ///
    /// What the runtime said.
    pub fn runtime_does(&self, words: &[&str]) -> Result<String> {
        let output = self.call_runtime(words)?;
        if !output.status.success() {
            bail!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until a process whose end comes to us has ended, and says how.
    #[must_use]
    pub fn end_of(&self, pid: i32) -> String {
        let mut end = None;
        self.until(|| {
            end = match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => Some(format!("exit status {code}")),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("signal {signal}")),
                Err(Errno::ECHILD) => Some("not known".to_owned()),
                _ => None,
            };
            end.is_some()
        });
        end.unwrap_or_else(|| "still running".to_owned())
    }

    /// Notes what is still there; all orphans come to us.
    pub fn note_leftovers(&mut self) {
        let own = std::process::id();
        let gone = self.until(|| {
            while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
                waitpid(None, Some(WaitPidFlag::WNOHANG))
            {}
            process::children_of(own).is_empty()
        });
        let mut left: Vec<String> = Vec::new();
        if !gone {
            left = process::children_of(own).into_iter().filter_map(process::comm).collect();
            left.sort();
        }
        let left = if left.is_empty() { "none".to_owned() } else { left.join(", ") };
        self.facts.must("processes left", left, "none");
    }
}
