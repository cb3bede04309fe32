//! poll(2) over a set that is rebuilt for each wait without allocating.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;

/// No timeout is longer: what a 32-bit machine can express, 68 years.
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);

/// What one wait watches: descriptors, each with the token it answers to.
///
/// Only the numbers are kept, and only until the next `clear`; the borrow at `add` makes
/// sure that each is open when it is added.
pub(crate) struct PollSet<T> {
    fds: Vec<libc::pollfd>,
    tokens: Vec<T>,
}

impl<T: Copy> PollSet<T> {
    pub(crate) fn new() -> Self {
        Self { fds: Vec::new(), tokens: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.fds.clear();
        self.tokens.clear();
    }

    /// Watches `fd` for `events`; hang-up and error are reported whether asked for or not.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>, events: PollFlags, token: T) {
        self.fds.push(libc::pollfd { fd: fd.as_raw_fd(), events: events.bits(), revents: 0 });
        self.tokens.push(token);
    }

    /// Blocks until something is ready or `timeout` has passed (`None`: for ever).
    ///
    /// An interrupted wait counts as one in which nothing was ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> nix::Result<()> {
        let timeout = timeout.map(|left| TimeSpec::from_duration(left.min(LONGEST)));
        let timeout =
            timeout.as_ref().map_or(std::ptr::null(), |left| std::ptr::from_ref(left.as_ref()));
        let count = self.fds.len() as libc::nfds_t;
        // SAFETY: the array is valid for `count` entries, the timeout is null or points to a
        // live value, and a null mask leaves the signal mask alone.
        let ready = unsafe { libc::ppoll(self.fds.as_mut_ptr(), count, timeout, std::ptr::null()) };
        match Errno::result(ready) {
            Ok(_) => Ok(()),
            Err(Errno::EINTR) => {
                self.fds.iter_mut().for_each(|fd| fd.revents = 0);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Puts the tokens with something to report into `ready`, in the order they were added.
    pub(crate) fn ready_into(&self, ready: &mut Vec<(T, PollFlags)>) {
        ready.clear();
        let reported = self.fds.iter().zip(&self.tokens).filter(|(fd, _)| fd.revents != 0);
        ready.extend(reported.map(|(fd, token)| {
            // An unknown bit must not be hidden: it would make the loop spin.
            (*token, PollFlags::from_bits_retain(fd.revents))
        }));
    }
}

/// Whether `fd` can be read, without waiting. Unlike [`wait_for`] it allocates nothing.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Waits until `fd` reports one of `events`, a hang-up or an error; `false` when `timeout`
/// came first.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, timeout: Duration) -> bool {
    let mut set = PollSet::new();
    set.add(fd, events, ());
    let mut ready = Vec::new();
    let end = super::time::monotonic().saturating_add(timeout);
    loop {
        let left = end.saturating_sub(super::time::monotonic());
        if set.wait(Some(left)).is_err() {
            return false;
        }
        set.ready_into(&mut ready);
        if !ready.is_empty() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn waits_for_ever_when_that_is_asked() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, b"x").unwrap();
        assert!(wait_for(reader.as_fd(), PollFlags::POLLIN, Duration::MAX));
    }

    #[test]
    fn gives_up_when_the_time_is_over() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        assert!(!wait_for(reader.as_fd(), PollFlags::POLLIN, Duration::from_millis(1)));
    }
}
