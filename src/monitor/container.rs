//! The container process: noticing its end, signalling it, ending it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::signals::{Child, Ended, reap};
use crate::sys;

/// How long the parent of a process that is not ours may take to reap it, after which its
/// status counts as unknown.
const STRANGERS_PATIENCE: Duration = Duration::from_millis(500);

/// How often a process is looked for where the kernel has no process descriptors.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// The container's first process while it is (or may be) alive.
pub(crate) struct ContainerProcess {
    pid: Pid,
    watch: Watch,
}

enum Watch {
    Descriptor {
        pidfd: OwnedFd,
        state: State,
    },
    /// No process descriptors (before Linux 5.3): look for the number now and then.
    Probe {
        next: Duration,
    },
}

/// What is known of a process that has a descriptor.
#[derive(Clone, Copy)]
enum State {
    Alive,
    /// A child that has ended but cannot be reaped: a tracer keeps it. Its descriptor stays
    /// readable, so it is not waited for; when the tracer lets go, there is a signal.
    Kept {
        next: Duration,
    },
    /// A process of another parent has ended and waits to be reaped there.
    Foreign {
        until: Duration,
    },
}

/// How the container ended.
pub(crate) struct End {
    pub(crate) ended: Ended,
    /// It was a child of the monitor, so its status is known.
    pub(crate) is_child: bool,
}

impl ContainerProcess {
    /// Begins to watch `pid`; `ESRCH` when there is no such process (any more).
    pub(crate) fn watch(pid: Pid, now: Duration) -> nix::Result<Self> {
        let watch = match sys::pidfd::open(pid) {
            Ok(pidfd) => Watch::Descriptor { pidfd, state: State::Alive },
            Err(Errno::ESRCH) => return Err(Errno::ESRCH),
            Err(_) => Watch::Probe { next: now + PROBE_PERIOD },
        };
        Ok(Self { pid, watch })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// What to wait for, and on what.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Watch::Descriptor { pidfd, state } = &self.watch else { return None };
        let events = match state {
            State::Alive => PollFlags::POLLIN,
            // It stays readable; only the hang-up, which tells that it was reaped, is news.
            State::Foreign { .. } => PollFlags::empty(),
            State::Kept { .. } => return None,
        };
        Some((pidfd.as_fd(), events))
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.watch {
            Watch::Descriptor { state: State::Alive, .. } => None,
            Watch::Descriptor { state: State::Kept { next }, .. } => Some(next),
            Watch::Descriptor { state: State::Foreign { until }, .. } => Some(until),
            Watch::Probe { next } => Some(next),
        }
    }

    /// Finds out whether the process has ended, and reaps it if it is a child.
    pub(crate) fn ended(&mut self, now: Duration) -> Option<End> {
        match self.reap() {
            Child::Ended(ended) => return Some(End { ended, is_child: true }),
            Child::NotYet => {
                let has_ended = self.has_ended();
                if let Watch::Descriptor { state, .. } = &mut self.watch {
                    let next = now + PROBE_PERIOD;
                    *state = if has_ended { State::Kept { next } } else { State::Alive };
                    if has_ended {
                        // It may have ended between the two looks.
                        if let Child::Ended(ended) = self.reap() {
                            return Some(End { ended, is_child: true });
                        }
                    }
                }
            }
            Child::NotOurs => {
                let ended = self.foreign_end(now)?;
                return Some(End { ended, is_child: false });
            }
        }
        if let Watch::Probe { next } = &mut self.watch {
            *next = now + PROBE_PERIOD;
        }
        None
    }

    fn reap(&self) -> Child {
        match &self.watch {
            // By its descriptor it cannot be mistaken for a later one of the same number.
            Watch::Descriptor { pidfd, .. } => match sys::pidfd::reap(pidfd.as_fd()) {
                Err(Errno::ECHILD) => Child::NotOurs,
                // Linux 5.3 has descriptors but no such wait, a filter may know neither.
                Err(_) => reap(self.pid),
                reaped => Child::from(reaped),
            },
            Watch::Probe { .. } => reap(self.pid),
        }
    }

    /// How a process that is no child has ended, if it has.
    fn foreign_end(&mut self, now: Duration) -> Option<Ended> {
        let has_ended = self.has_ended();
        match &mut self.watch {
            Watch::Descriptor { pidfd, state } => {
                if !has_ended {
                    return None;
                }
                if let Some(status) = sys::pidfd::exit_status(pidfd.as_fd()) {
                    return Some(Ended::from_wait_status(status));
                }
                let until = match *state {
                    State::Foreign { until } => until,
                    State::Alive | State::Kept { .. } => now + STRANGERS_PATIENCE,
                };
                *state = State::Foreign { until };
                (now >= until || is_reaped(pidfd.as_fd())).then_some(Ended::Unknown)
            }
            Watch::Probe { next } => {
                *next = now + PROBE_PERIOD;
                has_ended.then_some(Ended::Unknown)
            }
        }
    }

    /// Whether there is no such process any more, or only what is left to be reaped where the
    /// kernel has descriptors that tell.
    fn has_ended(&self) -> bool {
        let is_gone = || kill(self.pid, None) == Err(Errno::ESRCH);
        match &self.watch {
            Watch::Descriptor { pidfd, .. } => {
                sys::poll::look(pidfd.as_fd(), PollFlags::POLLIN).unwrap_or_else(|_| is_gone())
            }
            Watch::Probe { .. } => is_gone(),
        }
    }

    /// Sends `signal` to this process and to no later one of the same number.
    pub(crate) fn signal(&self, signal: Signal) -> nix::Result<()> {
        let Watch::Descriptor { pidfd, .. } = &self.watch else { return kill(self.pid, signal) };
        match sys::pidfd::send_signal(pidfd.as_fd(), signal) {
            // Refused, by a filter for example. While it lives the number is its own.
            Err(errno) if errno != Errno::ESRCH && !self.has_ended() => kill(self.pid, signal),
            sent => sent,
        }
    }

    /// Kills the process and its whole process group.
    pub(crate) fn kill_group(&self) {
        // The process is alive or a zombie, so its number and group are still its own.
        // The monitor's own group has the monitor in it.
        let is_its_own = |group: &Pid| group.as_raw() > 1 && *group != getpgrp();
        let group = getpgid(Some(self.pid)).ok().filter(is_its_own);
        let killed = match group {
            Some(group) => killpg(group, Signal::SIGKILL),
            None => self.signal(Signal::SIGKILL),
        };
        if killed.is_err() {
            let _ = self.signal(Signal::SIGKILL);
        }
    }

    /// Waits until the process has ended, but only so long.
    pub(crate) fn wait_for_death(&self, patience: Duration) {
        let Watch::Descriptor { pidfd, .. } = &self.watch else {
            // Nothing tells: the whole of it.
            return sys::time::sleep(patience);
        };
        let end = sys::time::monotonic() + patience;
        loop {
            let left = end.saturating_sub(sys::time::monotonic());
            // A wait that fails ends early.
            if !sys::poll::wait_for(pidfd.as_fd(), PollFlags::POLLIN, left) || self.has_ended() {
                return;
            }
        }
    }
}

fn is_reaped(pidfd: BorrowedFd<'_>) -> bool {
    sys::poll::look(pidfd, PollFlags::empty()).unwrap_or(false)
}
