//! The container process: noticing its end, signalling it, ending it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::signals::Ended;
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
        /// Set once a process of another parent has ended and waits to be reaped there.
        until: Option<Duration>,
    },
    /// No process descriptors (before Linux 5.3): look for the number now and then.
    Probe { next: Duration },
}

impl ContainerProcess {
    /// Begins to watch `pid`; `ESRCH` when there is no such process (any more).
    pub(crate) fn watch(pid: Pid, now: Duration) -> nix::Result<Self> {
        let watch = match sys::pidfd::open(pid) {
            Ok(pidfd) => Watch::Descriptor { pidfd, until: None },
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
        match &self.watch {
            Watch::Descriptor { pidfd, until: None } => Some((pidfd.as_fd(), PollFlags::POLLIN)),
            // It stays readable; only the hang-up, which tells that it was reaped, is news.
            Watch::Descriptor { pidfd, until: Some(_) } => {
                Some((pidfd.as_fd(), PollFlags::empty()))
            }
            Watch::Probe { .. } => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.watch {
            Watch::Descriptor { until, .. } => until,
            Watch::Probe { next } => Some(next),
        }
    }

    /// Finds out whether a process that is no child of ours has ended. For the moments when
    /// its descriptor or its deadline calls, after all children have been reaped.
    pub(crate) fn ended(&mut self, now: Duration) -> Option<Ended> {
        match &mut self.watch {
            Watch::Descriptor { pidfd, until } => {
                if !has_ended(pidfd.as_fd()) {
                    return None;
                }
                let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
                if waitid(Id::PIDFd(pidfd.as_fd()), peek) != Err(Errno::ECHILD) {
                    // A child: the next round of reaping brings its status.
                    return None;
                }
                if let Some(status) = sys::pidfd::exit_status(pidfd.as_fd()) {
                    return Some(Ended::from_wait_status(status));
                }
                let until = *until.get_or_insert(now + STRANGERS_PATIENCE);
                (now >= until || is_reaped(pidfd.as_fd())).then_some(Ended::Unknown)
            }
            Watch::Probe { next } => {
                *next = now + PROBE_PERIOD;
                (kill(self.pid, None) == Err(Errno::ESRCH)).then_some(Ended::Unknown)
            }
        }
    }

    /// Sends `signal` to this process and to no later one of the same number.
    pub(crate) fn signal(&self, signal: Signal) -> nix::Result<()> {
        match &self.watch {
            Watch::Descriptor { pidfd, .. } => sys::pidfd::send_signal(pidfd.as_fd(), signal),
            Watch::Probe { .. } => kill(self.pid, signal),
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
        match &self.watch {
            Watch::Descriptor { pidfd, .. } => {
                sys::poll::wait_for(pidfd.as_fd(), PollFlags::POLLIN, patience);
            }
            // Nothing tells: the whole of it.
            Watch::Probe { .. } => std::thread::sleep(patience),
        }
    }
}

fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    sys::poll::is_readable(pidfd)
}

fn is_reaped(pidfd: BorrowedFd<'_>) -> bool {
    sys::poll::wait_for(pidfd, PollFlags::empty(), Duration::ZERO)
}
