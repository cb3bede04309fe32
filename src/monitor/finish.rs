//! From the container's end to the monitor's: drain, record, tell, clean up.
//!
//! The order is what callers rely on: output is in the log before anybody learns of the
//! exit, reserved ports are free before the exit files exist, the exit files are there
//! before the exit command runs. Whoever reads slowly delays none of it.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::delivery::Goal;
use super::{KILL_PATIENCE, Monitor, Phase, Remains, Terminal, Work};
use crate::attach::ContainerStdin;
use crate::config::ExitCommand;
use crate::exit::{PAUSES, start_exit_command, write_exit_files};
use crate::failure::Failure;
use crate::signals::{Ended, reap_some, reap_until};
use crate::sync_pipe::{Key, SyncPipe};
use crate::sys;

/// How long after the record the monitor stays for readers that have not got everything. Then
/// a child serves them.
const READERS_GRACE: Duration = Duration::from_secs(2);

/// How long the exit command is tried to be started.
const FORK_PATIENCE: Duration = Duration::from_secs(10);

impl Monitor<'_> {
    /// Records the container's end. Returns the process's exit status.
    #[inline(never)]
    pub(crate) fn finish(mut self: Box<Self>) -> u8 {
        let code = match self.phase {
            Phase::Ended(ended) => ended.code(),
            _ => -1,
        };
        if let Some(notify) = &mut self.notify {
            notify.forward_rest(self.diag);
        }
        self.deliver_last_output();

        // A log can only be renewed while it is there.
        self.obey_last_commands();
        self.log.close_finished(self.diag);
        let attach = &mut self.attach;
        let relieve = || {
            if let Some(attach) = attach {
                attach.give_back_descriptors();
            }
        };
        let recorded = write_exit_files(self.config, code, &mut self.reserve, relieve, self.diag);
        if self.config.is_exec() {
            let timed_out = matches!(self.phase, Phase::TimedOut);
            let message: &[u8] = if timed_out { b"command timed out" } else { b"" };
            if let Err(failure) = self.sync.report(code, message) {
                self.diag.failure(&failure);
            }
        }
        let status = if recorded { code as u8 } else { 1 };
        self.leave(status)
    }

    /// Records that there is no container. Returns the process's exit status.
    #[inline(never)]
    pub(crate) fn give_up(mut self: Box<Self>, failed: &super::CreationFailed) -> u8 {
        if let Some(console) = &mut self.console {
            console.give_up(self.diag);
        }
        if failed.remains == Remains::Kill {
            self.kill_remains();
        }
        let report = failed.failure.report();
        let message = failed.message.as_deref().unwrap_or(&report);
        if let Err(failure) = self.sync.report(-1, message) {
            self.diag.failure(&failure);
        }
        self.diag.failure(&failed.failure);
        self.leave(1)
    }

    /// Removes what only a living monitor may leave in the file system, runs the exit command
    /// and reaps what has ended. Readers are served meanwhile, and left to a child if they have
    /// not got everything soon after.
    fn leave(mut self: Box<Self>, mut status: u8) -> u8 {
        let grace = sys::time::monotonic() + READERS_GRACE;
        self.let_go();
        if let Some(command) = &self.config.exit_command {
            if let Err(failure) = self.run_exit_command(command) {
                self.diag.failure(&failure);
                status = 1;
            }
        }
        if let Some(attach) = &mut self.attach {
            attach.unlink_symlink();
        }
        if self.has_readers() {
            self.serve(Goal::Everything, Some(grace));
        }
        if self.has_readers() {
            self.hand_over_readers();
        }
        // The rest, if there is more, falls to the next reaper.
        reap_some(None);
        status
    }

    /// Holds on to nothing but what readers have yet to get.
    fn let_go(&mut self) {
        self.log.end_output(self.diag);
        self.log.close_finished(self.diag);
        if let Some(attach) = &mut self.attach {
            attach.end_output(sys::time::monotonic(), self.diag);
            attach.unlink_socket(self.diag);
        }
        self.sync = SyncPipe::new(None, Key::Pid);
        self.attach_pipe = None;
        self.inherited.close();
        self.stdin = ContainerStdin::none();
        (self.stdout, self.stderr) = (None, None);
        (self.control, self.winsz, self.notify, self.console) = (None, None, None, None);
        self.terminal = Terminal::default();
        self.phase = Phase::Ended(Ended::Unknown);
        self.work = Work::new();
    }

    /// Runs the exit command after its delay and waits for its end, and for nothing else.
    fn run_exit_command(&mut self, command: &ExitCommand) -> Result<(), Failure> {
        if let Err(errno) = prctl::set_child_subreaper(false) {
            let text = "Failed to disable self subreaper attribute - might wait for indirect \
                        children a long time";
            self.diag.warn_errno(text, errno);
        }
        if !command.delay.is_zero() {
            let seconds = command.delay.as_secs();
            self.diag
                .debug(format!("Sleeping for {seconds} seconds before executing exit command"));
            let end = sys::time::monotonic().saturating_add(command.delay);
            self.serve(Goal::Time, Some(end));
        }
        let child = self.start_exit_command(command)?;
        self.serve(Goal::Child(child), None);
        Ok(())
    }

    /// Starts the exit command, in a while if need be: its user may have as many processes as
    /// allowed for a moment.
    fn start_exit_command(&mut self, command: &ExitCommand) -> Result<Pid, Failure> {
        let end = sys::time::monotonic() + FORK_PATIENCE;
        let mut pause = PAUSES.0;
        loop {
            let now = sys::time::monotonic();
            match start_exit_command(command, &self.oom_score) {
                Ok(child) => return Ok(child),
                Err(Errno::EAGAIN | Errno::ENOMEM) if now < end => {
                    // What has ended counts as a process until it is reaped.
                    self.serve(Goal::Time, Some(now + pause));
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(errno) => return Err(Failure::with_errno("Failed to fork", errno)),
            }
        }
    }

    /// Kills what a failed creation left: the runtime, then whatever it has started, which
    /// by then has been handed to this process, being the subreaper.
    fn kill_remains(&mut self) {
        match &self.phase {
            Phase::Creating { runtime, creation } if creation.runtime_ended().is_none() => {
                let runtime = *runtime;
                // Not reaped yet, so the number is still its own.
                let _ = kill(runtime, Signal::SIGKILL);
                reap_until(&self.signals, KILL_PATIENCE, runtime);
            }
            _ => {}
        }
        let mut left = sys::process::children();
        left.retain(|pid| !self.strangers.contains(pid));
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // What is killed takes its time to go, and whoever is told of the failure may look.
        let end = sys::time::monotonic() + KILL_PATIENCE;
        for pid in left {
            reap_until(&self.signals, end.saturating_sub(sys::time::monotonic()), pid);
        }
    }
}
