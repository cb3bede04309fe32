//! Between the container's end and its record: what it left goes to the log and the clients.
//!
//! Everything here shares one deadline. Nobody who reads slowly delays the record: what is not
//! delivered by then waits in memory, and that is bounded by what the pipes can hold.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::Pid;

use super::Monitor;
use super::delivery::{Goal, Outcome};
use crate::attach::ContainerStdin;
use crate::signals::Ended;
use crate::stream::Stream;
use crate::sys;

/// How long output of others that still comes after the container's end is taken.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long the record waits for a log that takes its time, counted from the container's end.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// How long the record waits for the log to be on disk; at most until the deadline.
const SYNC_PATIENCE: Duration = Duration::from_secs(1);

/// When the exit must be recorded, counted from the container's end: callers give up after 5 s.
const RECORD_DEADLINE: Duration = Duration::from_secs(4);

impl Monitor<'_> {
    /// Takes what the container left, and gives the log the time there is to have it.
    #[inline(never)]
    pub(super) fn deliver_last_output(&mut self) {
        let ended = sys::time::monotonic();
        // Nobody is left to read what clients send: it is taken and dropped.
        self.stdin = ContainerStdin::none();
        if let Some(attach) = &mut self.attach {
            attach.begin_exit();
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain(stream, ended + DRAIN_PATIENCE);
        }
        self.log.end_output(self.diag);
        if self.log.is_blocked() {
            self.serve(Goal::Log, Some(ended + LOG_PATIENCE));
        }
        let syncing = self.begin_sync(ended + RECORD_DEADLINE);
        // Beside the disk, not behind it: what else has to be done before the exit files exist.
        self.inherited.close();
        self.attach_pipe = None;
        self.log.release_buffers();
        if let Some(syncing) = syncing {
            self.await_sync(&syncing);
        }
        if let Some(attach) = &mut self.attach {
            // Clients that have everything see the end before the exit files exist.
            attach.end_output(sys::time::monotonic(), self.diag);
        }
    }

    /// Takes what the container left in a stream, whoever is slow to read it.
    ///
    /// What others write after the container's end is taken as well as long as nobody is slow,
    /// until `end`: another process may hold the stream open for ever, or write to it for ever.
    fn drain(&mut self, stream: Stream, end: Duration) {
        let slot = if stream == Stream::Stdout { &self.stdout } else { &self.stderr };
        let Some(output) = slot else { return };
        let left = output.held_bytes();
        let mut taken = 0;
        while taken < left || (self.takes_output() && sys::time::monotonic() < end) {
            match self.read_output(stream) {
                0 => return,
                length => taken += length,
            }
        }
    }

    /// Begins to have the log on disk; a child does the waiting. `None`: there is nothing to wait
    /// for.
    fn begin_sync(&mut self, deadline: Duration) -> Option<Syncing> {
        let log = self.log.sync_target()?;
        if is_in_memory(log) {
            // There is no disk to wait for.
            let _ = nix::unistd::fsync(log);
            return None;
        }
        match sys::process::sync_in_child(log) {
            Ok(child) => {
                let patience = sys::time::monotonic() + SYNC_PATIENCE;
                return Some(Syncing { child, until: patience.min(deadline) });
            }
            Err(_) => self.say_unsynced(nix::unistd::fsync(log)),
        }
        None
    }

    /// Waits until the log is on disk, but only so long.
    fn await_sync(&mut self, syncing: &Syncing) {
        let outcome = self.serve(Goal::Child(syncing.child), Some(syncing.until));
        if let Outcome::Ended(Ended::Exited(errno @ 1..)) = outcome {
            self.say_unsynced(Err(Errno::from_raw(errno)));
        }
    }

    fn say_unsynced(&self, synced: nix::Result<()>) {
        if let Err(errno) = synced {
            self.diag.warn_errno("Failed to sync log file before exit:", errno);
        }
    }
}

/// A log on its way to the disk.
struct Syncing {
    child: Pid,
    /// How long the record waits for it.
    until: Duration,
}

fn is_in_memory(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|info| info.filesystem_type() == TMPFS_MAGIC)
}
