//! Signals, read one at a time from a descriptor instead of being handled.
//!
//! From `block` on every signal is blocked, so none that would end the monitor does; only
//! those with a meaning are read. Children get the mask back that the monitor was given.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::sys;

/// The blocked signals of the monitor and the descriptor to read them from.
pub(crate) struct Signals {
    descriptor: SignalFd,
    meaningful: SigSet,
    original_mask: SigSet,
    /// Not before this the descriptor is waited for, which says that there is something to read
    /// and does not give it.
    rested_at: Cell<Option<Duration>>,
}

/// How often signals and children are looked for while neither way to read signals works.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Blocks SIGHUP and returns the mask as it was before.
///
/// For the time between the fork to the background and the new session: a caller that led
/// its session takes what is left of it along when it ends, and must not take the monitor.
pub(crate) fn hold_hangups() -> Result<SigSet, Failure> {
    let mut original_mask = SigSet::empty();
    let hangup = SigSet::from(Signal::SIGHUP);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&hangup), Some(&mut original_mask))
        .map_err(|errno| Failure::with_errno("Failed to block signals", errno))?;
    Ok(original_mask)
}

/// What a signal asks of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A child may have ended.
    CheckChildren,
    /// To be passed on to the container.
    Forward(Signal),
}

impl Signals {
    /// Blocks every signal and opens the descriptor; children will get `original_mask`.
    pub(crate) fn block(original_mask: SigSet) -> Result<Self, Failure> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
            .map_err(|errno| Failure::with_errno("Failed to block signals", errno))?;
        let mut meaningful = SigSet::empty();
        meaningful.extend([
            Signal::SIGCHLD,
            Signal::SIGUSR1,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
        ]);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&meaningful, flags)
            .map_err(|errno| Failure::with_errno("Failed to create signalfd", errno))?;
        Ok(Self { descriptor, meaningful, original_mask, rested_at: Cell::new(None) })
    }

    /// The mask the process was started with.
    pub(crate) fn original_mask(&self) -> &SigSet {
        &self.original_mask
    }

    /// What to wait for input on; nothing until [`Self::deadline`] while it cannot be read.
    pub(crate) fn fd(&self, now: Duration) -> Option<BorrowedFd<'_>> {
        if self.rested_at.get().is_some_and(|rested_at| rested_at <= now) {
            self.rested_at.set(None);
        }
        self.rested_at.get().is_none().then(|| self.descriptor.as_fd())
    }

    /// When to ask for the descriptor again.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.rested_at.get()
    }

    /// The next request, if any is waiting.
    ///
    /// Where the descriptor cannot be read a signal is taken in another way; where there is
    /// none, or that is refused as well, the descriptor rests, and children are looked for.
    pub(crate) fn next(&self) -> Option<Request> {
        let number = match self.descriptor.read_signal() {
            Ok(info) => i32::try_from(info?.ssi_signo).ok()?,
            Err(_) if self.rested_at.get().is_some() => return None,
            Err(_) => match sys::process::take_signal(&self.meaningful) {
                Ok(number) => number,
                Err(_) => {
                    self.rested_at.set(Some(sys::time::monotonic() + LOOK_PERIOD));
                    return Some(Request::CheckChildren);
                }
            },
        };
        match Signal::try_from(number).ok()? {
            Signal::SIGCHLD | Signal::SIGUSR1 => Some(Request::CheckChildren),
            other => Some(Request::Forward(other)),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Signalled(i32),
    /// Its status went to another process, which the kernel cannot name any more.
    Unknown,
}

impl Ended {
    /// Decodes a wait(2) status.
    pub(crate) fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited((status >> 8) & 0xff),
            signal => Self::Signalled(signal),
        }
    }

    /// What a shell would report: the exit code, or 128 and the signal; -1 when unknown.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
            Self::Unknown => -1,
        }
    }
}

/// How many children one turn reaps beside the one that matters: the container decides how
/// many there are, and neither it nor its end may be kept waiting by them.
pub(crate) const REAPS_PER_TURN: usize = 32;

/// How many signals one turn takes: while children end all the time, there is always one more.
pub(crate) const SIGNALS_PER_TURN: usize = 8;

/// Reaps one child that has ended, if there is one.
pub(crate) fn reap_next() -> Option<(Pid, Ended)> {
    let (pid, status) = sys::process::reap_any()?;
    Some((pid, Ended::from_wait_status(status)))
}

/// What is to be learnt of one process by reaping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Ended(Ended),
    /// It lives, or somebody who traces it keeps it.
    NotYet,
    /// It is no child of this process (any more).
    NotOurs,
}

/// Reaps the child `pid` if it has ended.
pub(crate) fn reap(pid: Pid) -> Child {
    Child::from(sys::process::reap(pid))
}

impl From<nix::Result<Option<i32>>> for Child {
    fn from(reaped: nix::Result<Option<i32>>) -> Self {
        match reaped {
            Ok(Some(status)) => Self::Ended(Ended::from_wait_status(status)),
            Ok(None) => Self::NotYet,
            Err(_) => Self::NotOurs,
        }
    }
}

/// What [`reap_some`] has reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// The child that was waited for; `Unknown` if it is no child of this process.
    Awaited(Ended),
    /// So many others; with [`REAPS_PER_TURN`] of them there may be more.
    Others(usize),
}

/// Reaps `awaited` if it has ended, else a bounded number of others.
pub(crate) fn reap_some(awaited: Option<Pid>) -> Reaped {
    match awaited.map(reap) {
        Some(Child::Ended(ended)) => return Reaped::Awaited(ended),
        Some(Child::NotOurs) => return Reaped::Awaited(Ended::Unknown),
        Some(Child::NotYet) | None => {}
    }
    for count in 0..REAPS_PER_TURN {
        match reap_next() {
            Some((pid, ended)) if awaited == Some(pid) => return Reaped::Awaited(ended),
            Some(_) => {}
            None => return Reaped::Others(count),
        }
    }
    Reaped::Others(REAPS_PER_TURN)
}

/// Reaps children as they end, until `awaited` is one of them or `limit` has passed.
pub(crate) fn reap_until(signals: &Signals, limit: Duration, awaited: Pid) {
    let end = sys::time::monotonic().saturating_add(limit);
    loop {
        for _ in 0..SIGNALS_PER_TURN {
            if signals.next().is_none() {
                break;
            }
        }
        let Reaped::Others(count) = reap_some(Some(awaited)) else { return };
        let now = sys::time::monotonic();
        let left = end.saturating_sub(now);
        if left.is_zero() {
            return;
        }
        if count == REAPS_PER_TURN {
            continue;
        }
        match signals.fd(now) {
            Some(fd) => drop(sys::poll::wait_for(fd, PollFlags::POLLIN, left)),
            None => sys::time::sleep(left.min(LOOK_PERIOD)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn unreadable() -> Signals {
        let meaningful = SigSet::from(Signal::SIGINT);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&meaningful), None).unwrap();
        Signals {
            descriptor: sys::process::unreadable_signals(),
            meaningful,
            original_mask: SigSet::empty(),
            rested_at: Cell::new(None),
        }
    }

    #[test]
    fn signals_are_taken_in_another_way_where_their_descriptor_cannot_be_read() {
        let signals = unreadable();
        nix::sys::signal::raise(Signal::SIGINT).unwrap();
        assert_eq!(signals.next(), Some(Request::Forward(Signal::SIGINT)));
        assert!(signals.fd(sys::time::monotonic()).is_some());
    }

    #[test]
    fn a_descriptor_that_cannot_be_read_is_not_waited_for_all_the_time() {
        let signals = unreadable();
        assert_eq!(signals.next(), Some(Request::CheckChildren));
        assert_eq!(signals.next(), None);
        let rested_at = signals.deadline().unwrap();
        assert!(signals.fd(rested_at - LOOK_PERIOD / 2).is_none());
        assert!(signals.fd(rested_at).is_some());
        assert_eq!(signals.deadline(), None);
        assert_eq!(signals.next(), Some(Request::CheckChildren));
    }

    #[rstest]
    #[case::success(0, 0)]
    #[case::plain_failure(7 << 8, 7)]
    #[case::highest_exit_code(255 << 8, 255)]
    #[case::killed_by_sigterm(libc::SIGTERM, 143)]
    #[case::killed_by_sigkill(libc::SIGKILL, 137)]
    #[case::killed_by_a_real_time_signal(40, 168)]
    #[case::dumped_core(libc::SIGSEGV | 0x80, 139)]
    fn status_code_is_what_a_shell_would_report(#[case] status: i32, #[case] expected: i32) {
        assert_eq!(Ended::from_wait_status(status).code(), expected);
    }
}
