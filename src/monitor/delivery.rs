//! After the container's end: whoever still reads its output is served beside everything that
//! remains to be done, and goes on being served when all of that is done.

use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, chdir};

use super::Monitor;
use super::wait::{Source, wait};
use crate::attach::Attach;
use crate::signals::{Ended, REAPS_PER_TURN, Reaped, Request, SIGNALS_PER_TURN, reap_some};
use crate::sys;
use crate::sys::poll::PollSet;

/// How long a log may take nothing of what waits for it. A slow one gets all the time it needs.
const LOG_STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is looked whether somebody has come to read a FIFO that is the log.
const READER_PERIOD: Duration = Duration::from_millis(100);

/// When a refused fork is tried again.
const FORK_AGAIN: Duration = Duration::from_secs(5);

/// The name of the process that serves readers when the monitor has ended.
const READERS_PROCESS: &std::ffi::CStr = c"conmon-readers";

/// What [`Monitor::serve`] waits for while it serves readers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Nothing: the time alone ends it.
    Time,
    /// The log has everything, or will not take it.
    Log,
    /// All readers have everything or are gone; SIGTERM ends it early if there is no limit.
    Everything,
    /// The end of a child.
    Child(Pid),
}

/// Why [`Monitor::serve`] came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Reached,
    Ended(Ended),
    TimeUp,
    Terminated,
}

impl Monitor<'_> {
    /// Serves the readers of the log and the attach clients, and reaps what ends, until `goal`
    /// is reached or it is `limit` (`None`: never).
    pub(super) fn serve(&mut self, goal: Goal, limit: Option<Duration>) -> Outcome {
        loop {
            let mut terminated = false;
            for _ in 0..SIGNALS_PER_TURN {
                let Some(request) = self.signals.next() else { break };
                terminated |= request == Request::Forward(Signal::SIGTERM);
            }
            let awaited = if let Goal::Child(child) = goal { Some(child) } else { None };
            let others = match reap_some(awaited) {
                Reaped::Awaited(ended) => return Outcome::Ended(ended),
                Reaped::Others(count) => count,
            };
            let reached = match goal {
                Goal::Log => !self.log.is_blocked(),
                Goal::Everything => !self.has_readers(),
                Goal::Time | Goal::Child(_) => false,
            };
            let now = sys::time::monotonic();
            if reached {
                return Outcome::Reached;
            }
            if limit.is_some_and(|limit| limit <= now) {
                return Outcome::TimeUp;
            }
            if terminated && goal == Goal::Everything && limit.is_none() {
                return Outcome::Terminated;
            }
            let limit = if others == REAPS_PER_TURN { Some(now) } else { limit };
            self.serve_once(limit, now);
        }
    }

    /// Waits once for readers, signals or `limit`, and gives readers what they take.
    fn serve_once(&mut self, limit: Option<Duration>, now: Duration) {
        let awaits_reader = self.log.awaits_reader();
        if (self.log.is_blocked() || awaits_reader) && self.work.log_stalls_at.is_none() {
            self.work.log_stalls_at = Some(now + LOG_STALL_TIMEOUT);
        }
        let mut poll = std::mem::replace(&mut self.work.poll, PollSet::new());
        poll.clear();
        if let Some(fd) = self.signals.fd(now) {
            poll.add(fd, PollFlags::POLLIN, Source::Signals);
        }
        for sink in self.log.blocked_on() {
            poll.add(sink, PollFlags::POLLOUT, Source::Journal);
        }
        for (id, fd, events) in self.attach.iter().flat_map(|attach| attach.clients(&self.stdin)) {
            poll.add(fd, events, Source::Client(id));
        }
        let look = awaits_reader.then_some(now + READER_PERIOD);
        let deadlines = [limit, look, self.work.log_stalls_at, self.signals.deadline()];
        let until = deadlines.into_iter().flatten().min();
        let mut ready = std::mem::take(&mut self.work.ready);
        wait(&mut poll, until.map(|until| until.saturating_sub(now)), &mut ready);
        let now = sys::time::monotonic();
        for (source, events) in ready.drain(..) {
            match (source, &mut self.attach) {
                (Source::Journal, _) => self.serve_log(now),
                (Source::Client(id), Some(attach)) => {
                    attach.on_client(id, events, &mut self.stdin, now, self.diag);
                }
                _ => {}
            }
        }
        (self.work.poll, self.work.ready) = (poll, ready);
        if awaits_reader {
            self.log.close_finished(self.diag);
            self.work.log_stalls_at.take_if(|_| !self.log.awaits_reader());
        }
        if self.work.log_stalls_at.is_some_and(|stalls_at| stalls_at <= now) {
            self.work.log_stalls_at = None;
            self.log.drop_waiting(self.diag);
        }
    }

    fn serve_log(&mut self, now: Duration) {
        let before = self.log.waiting_bytes();
        self.log.resume(self.diag);
        if !self.log.is_blocked() {
            self.work.log_stalls_at = None;
        } else if self.log.waiting_bytes() < before {
            self.work.log_stalls_at = Some(now + LOG_STALL_TIMEOUT);
        }
    }

    /// Whether somebody who reads has not got everything, or may come to read the log.
    pub(super) fn has_readers(&mut self) -> bool {
        self.log.close_finished(self.diag);
        self.log.is_blocked()
            || self.log.awaits_reader()
            || self.attach.as_ref().is_some_and(Attach::has_queued)
    }

    /// Leaves the readers to a child, so that this process can end: callers wait for that. Where
    /// no child can be made, they are served here.
    ///
    /// The child holds their sockets and what they have yet to get, and nothing else. It ends
    /// when they have it or are gone, or on SIGTERM.
    #[inline(never)]
    pub(super) fn hand_over_readers(&mut self) {
        let mut refused = false;
        loop {
            match sys::process::fork() {
                Ok(ForkResult::Parent { .. }) => {
                    // Dropping them would end the connections, which the child has now.
                    std::mem::forget(self.attach.take());
                    return;
                }
                Ok(ForkResult::Child) => self.serve_as_child(),
                Err(errno) if !refused => {
                    refused = true;
                    let text = "Failed to fork for those who still read the container's output:";
                    self.diag.warn_errno(text, errno);
                }
                Err(_) => {}
            }
            let again = sys::time::monotonic() + FORK_AGAIN;
            match self.serve(Goal::Everything, Some(again)) {
                Outcome::TimeUp => {}
                _ => return,
            }
        }
    }

    fn serve_as_child(&mut self) -> ! {
        // It can be spared sooner than a monitor, and must not keep a file system busy.
        self.oom_score.restore();
        let _ = prctl::set_name(READERS_PROCESS);
        let _ = chdir("/");
        self.diag.disconnect();
        sys::stack::release_unused();
        self.serve(Goal::Everything, None);
        self.abandon_readers();
        sys::process::leave(0)
    }

    /// Gives up on those who have not read everything, and says what they did not get.
    fn abandon_readers(&mut self) {
        if let Some(attach) = &mut self.attach {
            attach.abandon(self.diag);
        }
        self.log.drop_waiting(self.diag);
    }
}
