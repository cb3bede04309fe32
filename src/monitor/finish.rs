//! From the container's end to the monitor's: drain, record, tell, clean up.
//!
//! The order is what callers rely on: output is in the log before anybody learns of the
//! exit, reserved ports are free before the exit files exist, the exit files are there
//! before the exit command runs.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use super::{KILL_PATIENCE, Monitor, Phase, Remains};
use crate::exit::{reap_until, run_exit_command, write_exit_files};
use crate::signals::{Ended, reap_next};
use crate::stream::Stream;
use crate::sys;
use crate::sys::poll::PollSet;

/// How long output that still comes after the container's end is taken.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long a log may take nothing of what waits for it. A slow one gets all the time it needs.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// How long the exit files wait for the log to be on disk.
const SYNC_PATIENCE: Duration = Duration::from_secs(1);

/// How long attach clients may take to read what is queued for them.
const CLIENT_GRACE: Duration = Duration::from_secs(2);

/// The least bytes that are drained even from a stream that never pauses: more than a pipe
/// of the default size can have held when the container ended.
const DRAIN_BYTES: usize = 1024 * 1024;

impl Monitor<'_> {
    /// Records the container's end. Returns the process's exit status.
    #[inline(never)]
    pub(crate) fn finish(mut self: Box<Self>) -> u8 {
        let code = match self.phase {
            Phase::Ended(ended) => ended.code(),
            _ => -1,
        };
        if let Some(attach) = &mut self.attach {
            attach.begin_exit(sys::time::monotonic());
        }
        let mut patience = LOG_PATIENCE;
        self.drain(Stream::Stdout, &mut patience);
        self.drain(Stream::Stderr, &mut patience);
        self.log.finish(patience, self.diag);
        self.sync_log();
        self.inherited.close();
        self.attach_pipe = None;
        self.close_idle_clients();

        let recorded = write_exit_files(self.config, code, self.diag);
        if self.config.is_exec() {
            let timed_out = matches!(self.phase, Phase::TimedOut);
            let message: &[u8] = if timed_out { b"command timed out" } else { b"" };
            if let Err(failure) = self.sync.report(code, message) {
                self.diag.failure(&failure);
            }
        }
        self.grant_clients_their_grace();
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

    /// Removes what only a living monitor may leave in the file system, runs the exit
    /// command holding nothing, and reaps what has ended.
    fn leave(self: Box<Self>, status: u8) -> u8 {
        let Self { config, diag, signals, oom_score, mut attach, .. } = *self;
        if let Some(attach) = &mut attach {
            attach.close_clients(sys::time::monotonic(), self.diag);
            attach.unlink_socket(diag);
        }
        drop((
            self.sync,
            self.attach_pipe,
            self.inherited,
            self.log,
            self.stdin,
            self.stdout,
            self.stderr,
        ));
        drop((self.control, self.winsz, self.notify, self.console, self.terminal));
        drop((self.phase, self.work));
        let mut status = status;
        if let Some(command) = &config.exit_command {
            if let Err(failure) = run_exit_command(command, &oom_score, &signals, diag) {
                diag.failure(&failure);
                status = 1;
            }
        }
        if let Some(attach) = &mut attach {
            attach.unlink_symlink();
        }
        while reap_next().is_some() {}
        status
    }

    /// Takes what the container left in a stream.
    ///
    /// Stops when there is nothing for now: another process may hold the other end and keep
    /// it open for ever, or write to it for ever. A log that takes nothing for as long as
    /// `patience` uses it up.
    fn drain(&mut self, stream: Stream, patience: &mut Duration) {
        let end = sys::time::monotonic() + DRAIN_PATIENCE;
        let mut taken = 0;
        loop {
            if self.log.is_blocked() && !self.log_accepts(*patience) {
                *patience = Duration::ZERO;
                return;
            }
            let before = sys::time::monotonic();
            if taken > DRAIN_BYTES && before >= end {
                return;
            }
            match self.read_output(stream) {
                0 => return,
                length => taken += length,
            }
        }
    }

    /// Waits until the log has taken what waits; `false` if for `patience` it took nothing.
    fn log_accepts(&mut self, patience: Duration) -> bool {
        let mut deadline = sys::time::monotonic() + patience;
        while self.log.is_blocked() {
            let Some(sink) = self.log.blocked_on() else { return false };
            let left = deadline.saturating_sub(sys::time::monotonic());
            if left.is_zero() || !sys::poll::wait_for(sink, PollFlags::POLLOUT, left) {
                return false;
            }
            let before = self.log.waiting_bytes();
            self.log.resume(self.diag);
            if self.log.waiting_bytes() < before {
                deadline = sys::time::monotonic() + patience;
            }
        }
        true
    }

    /// Has the log on disk, but waits only so long: a child does the waiting.
    fn sync_log(&mut self) {
        let Some(log) = self.log.sync_target() else { return };
        if is_in_memory(log) {
            // There is no disk to wait for.
            let _ = nix::unistd::fsync(log);
            return;
        }
        match sys::process::sync_in_child(log) {
            Ok(child) => {
                let mut outcome = Ended::Exited(0);
                let reaped = |pid, ended| {
                    if pid == child {
                        outcome = ended;
                    }
                    pid == child
                };
                reap_until(&self.signals, Some(SYNC_PATIENCE), reaped);
                if let Ended::Exited(errno @ 1..) = outcome {
                    let text = "Failed to sync log file before exit:";
                    self.diag.warn_errno(text, Errno::from_raw(errno));
                }
            }
            Err(_) => {
                if let Err(errno) = nix::unistd::fsync(log) {
                    self.diag.warn_errno("Failed to sync log file before exit:", errno);
                }
            }
        }
    }

    /// Clients that have everything see the end before the exit files exist.
    fn close_idle_clients(&mut self) {
        if let Some(attach) = self.attach.as_mut().filter(|attach| !attach.has_queued()) {
            attach.close_clients(sys::time::monotonic(), self.diag);
        }
    }

    /// Gives clients that are still reading the time to do so.
    fn grant_clients_their_grace(&mut self) {
        let end = sys::time::monotonic() + CLIENT_GRACE;
        let mut poll = PollSet::new();
        let mut ready = Vec::new();
        let Some(attach) = &mut self.attach else { return };
        while attach.has_queued() {
            let now = sys::time::monotonic();
            if now >= end {
                return;
            }
            poll.clear();
            for (id, fd, events) in attach.clients(&self.stdin) {
                poll.add(fd, events, id);
            }
            // A client that takes nothing any more is given up earlier.
            let until = attach.deadline().map_or(end, |deadline| deadline.min(end));
            if poll.wait(Some(until.saturating_sub(now))).is_err() {
                return;
            }
            poll.ready_into(&mut ready);
            let now = sys::time::monotonic();
            for (id, events) in ready.drain(..) {
                attach.on_client(id, events, &mut self.stdin, now, self.diag);
            }
            attach.on_deadline(now, self.diag);
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
                reap_until(&self.signals, Some(KILL_PATIENCE), |pid, _| pid == runtime);
            }
            _ => {}
        }
        let strangers = &self.strangers;
        for pid in sys::process::children().into_iter().filter(|pid| !strangers.contains(pid)) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn is_in_memory(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|info| info.filesystem_type() == TMPFS_MAGIC)
}
