//! Between the container's end and its record: what it left goes to the log and the clients.
//!
//! Everything here shares one deadline. Nobody who reads slowly delays the record: what is not
//! delivered by then waits in memory, and that is bounded by what the pipes can hold.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

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
        self.sync_log(ended + RECORD_DEADLINE);
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

    /// Has the log on disk, but waits only so long: a child does the waiting.
    fn sync_log(&mut self, deadline: Duration) {
        let Some(log) = self.log.sync_target() else { return };
        if is_in_memory(log) {
            // There is no disk to wait for.
            let _ = nix::unistd::fsync(log);
            return;
        }
        let outcome = match sys::process::sync_in_child(log) {
            Ok(child) => {
                let patience = sys::time::monotonic() + SYNC_PATIENCE;
                match self.serve(Goal::Child(child), Some(patience.min(deadline))) {
                    Outcome::Ended(Ended::Exited(errno @ 1..)) => Err(Errno::from_raw(errno)),
                    _ => Ok(()),
                }
            }
            Err(_) => nix::unistd::fsync(log),
        };
        if let Err(errno) = outcome {
            self.diag.warn_errno("Failed to sync log file before exit:", errno);
        }
    }
}

fn is_in_memory(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|info| info.filesystem_type() == TMPFS_MAGIC)
}
