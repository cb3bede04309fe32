//! Waiting: is it so, can it still become so?

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::problem::Problem;
use super::{Bound, Driver};
use crate::observation::ProcessSeen;
use crate::observe::process::{self, Expected};
use crate::observe::streams::contains;
use crate::observe::{files, records};
use crate::scenario::step::{ContainerState, Fact};
use crate::world::paths;

/// How long a fact may be out of reach before it counts as unreachable.
const LAST_CHANCE: Duration = Duration::from_millis(60);

/// How long a process may take to come to rest.
const REST: Duration = Duration::from_secs(3);

impl Driver<'_> {
    /// Waits until a fact holds.
    pub(super) fn wait(
        &mut self,
        fact: &Fact,
        up_to: Option<Duration>,
    ) -> Result<Result<(), Problem>> {
        let bound = up_to.map(|bound| Bound::after(bound, self.turns));
        let mut hopeless: Option<Bound> = None;
        loop {
            if self.holds(fact)? {
                return Ok(Ok(()));
            }
            if self.is_over(self.deadline) {
                return Ok(Err(Problem::Deadline));
            }
            if bound.is_some_and(|bound| self.is_over(bound)) {
                return Ok(Err(Problem::NotMet));
            }
            if self.is_hopeless(fact) {
                let turns = self.turns;
                let last = *hopeless.get_or_insert_with(|| Bound::after(LAST_CHANCE, turns));
                if self.is_over(last) {
                    return Ok(Err(Problem::Never));
                }
            } else {
                hopeless = None;
            }
            self.pump()?;
        }
    }

    fn holds(&mut self, fact: &Fact) -> Result<bool> {
        Ok(match fact {
            Fact::FileExists(path) => Path::new(&self.fill(path)?).symlink_metadata().is_ok(),
            Fact::FileGone(path) => Path::new(&self.fill(path)?).symlink_metadata().is_err(),
            Fact::FileHas { path, bytes } => {
                let path = self.fill(path)?;
                std::fs::read(path).is_ok_and(|content| contains(&content, bytes))
            }
            Fact::Output { client, bytes } => {
                self.clients.get(client).is_some_and(|client| client.has(bytes))
            }
            Fact::ClientEnd(client) => {
                self.clients.get(client).is_some_and(|client| client.has_ended())
            }
            Fact::Report { monitor, count } => {
                self.monitors.get(monitor).is_some_and(|m| m.report_count() >= *count)
            }
            Fact::AttachReport(monitor) => self
                .monitors
                .get(monitor)
                .and_then(|m| m.attach.as_ref())
                .is_some_and(|attach| !attach.reads.is_empty()),
            Fact::LaunchEnd(monitor) => {
                self.monitors.get(monitor).is_some_and(|m| self.ended.contains_key(&m.launched))
            }
            Fact::Stderr { monitor, bytes } => {
                self.monitors.get(monitor).is_some_and(|m| m.stderr.has(bytes))
            }
            Fact::MonitorGone(monitor) => self.is_gone(monitor),
            Fact::MonitorIdle(monitor) => self.is_idle(monitor)?,
            Fact::MonitorStopped(monitor) => {
                let pid = self.monitors.get(monitor).and_then(|m| m.pid);
                pid.and_then(process::state) == Some('T')
            }
            Fact::Container { monitor, state } => self.container_is(monitor, *state),
            Fact::ExitCommand(count) => records::files(paths::EXIT_CALLS).len() >= *count,
            Fact::RuntimeCalls(count) => records::files(paths::RUNTIME_CALLS).len() >= *count,
            Fact::Journal(bytes) => self.journal.has(bytes),
            Fact::Syslog(bytes) => self.syslog.has(bytes),
            Fact::HostNotify(bytes) => self.notify.has(bytes),
        })
    }

    /// Whether everything that could bring a fact about has ended.
    fn is_hopeless(&self, fact: &Fact) -> bool {
        let monitor = match fact {
            Fact::FileExists(_)
            | Fact::FileGone(_)
            | Fact::FileHas { .. }
            | Fact::ExitCommand(_)
            | Fact::RuntimeCalls(_)
            | Fact::Journal(_)
            | Fact::Syslog(_)
            | Fact::HostNotify(_) => {
                return self.monitors.keys().all(|name| self.is_gone(name));
            }
            Fact::Output { client, .. } | Fact::ClientEnd(client) => {
                return self.clients.get(client).is_none_or(|client| client.has_ended());
            }
            Fact::Container { .. } | Fact::LaunchEnd(_) | Fact::MonitorGone(_) => return false,
            Fact::Report { monitor, .. } => {
                let running = self.monitors.get(monitor);
                let ended = running.and_then(|m| m.sync.as_ref()).is_none_or(|s| !s.is_open());
                return ended || self.is_gone(monitor);
            }
            Fact::AttachReport(monitor)
            | Fact::Stderr { monitor, .. }
            | Fact::MonitorIdle(monitor)
            | Fact::MonitorStopped(monitor) => monitor,
        };
        self.is_gone(monitor)
    }

    pub(super) fn container_is(&self, monitor: &str, wanted: ContainerState) -> bool {
        let Some(pid) = self.container_pid(monitor) else { return false };
        let state = process::state(pid);
        match wanted {
            ContainerState::Gone => matches!(state, None | Some('Z' | 'X')),
            ContainerState::Running => matches!(state, Some('R' | 'S' | 'D')),
            ContainerState::Stopped => state == Some('T'),
            // Asleep in a write that its reader does not take.
            ContainerState::Blocked => {
                state == Some('S')
                    && std::fs::read_to_string(format!("/proc/{pid}/wchan"))
                        .is_ok_and(|place| place.contains("pipe_w") || place.contains("n_tty_w"))
            }
        }
    }

    /// Whether two looks in a row find a monitor the same, and asleep.
    fn is_idle(&mut self, name: &str) -> Result<bool> {
        let Some(before) = self.look_once(name) else { return Ok(false) };
        self.pump()?;
        Ok(self.look_once(name).is_some_and(|again| process::is_settled(&before, &again)))
    }

    fn look_once(&self, name: &str) -> Option<ProcessSeen> {
        let running = self.monitors.get(name)?;
        let pid = running.pid.filter(|pid| !self.ended.contains_key(pid))?;
        let expected = Expected { env: &running.call.env, inherited: &running.inherited };
        process::look(pid, &expected)
    }

    /// Looks at a monitor once it has come to rest.
    pub(super) fn look(&mut self, name: &str) -> Result<Option<ProcessSeen>> {
        let until = Bound::after(REST, self.turns);
        let mut before: Option<ProcessSeen> = None;
        loop {
            let seen = self.look_once(name);
            match (before.take(), seen) {
                (_, None) => return Ok(None),
                (Some(before), Some(seen))
                    if process::is_settled(&before, &seen) || self.is_over(until) =>
                {
                    return Ok(Some(seen));
                }
                (_, seen) => before = seen,
            }
            self.pump()?;
        }
    }

    /// Looks at every monitor that runs, and at the files.
    pub(super) fn look_around(&mut self, moment: &str) -> Result<()> {
        let names: Vec<String> = self.monitors.keys().cloned().collect();
        for name in names {
            if let Some(seen) = self.look(&name)? {
                if let Some(running) = self.monitors.get_mut(&name) {
                    running.looks.insert(moment.to_string(), seen);
                }
            }
        }
        self.seen.files.insert(moment.to_string(), files::tree(paths::WATCHED));
        Ok(())
    }
}
