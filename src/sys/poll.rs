//! poll(2) over a set that is rebuilt for each wait without allocating.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::time::timespec;

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

    /// Whether something answers to `token`.
    pub(crate) fn watches(&self, token: T) -> bool
    where
        T: PartialEq,
    {
        self.tokens.contains(&token)
    }

    /// Blocks until something is ready or `timeout` has passed (`None`: for ever).
    ///
    /// # Errors
    ///
    /// The wait was interrupted or refused; nobody knows then what is ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> nix::Result<()> {
        let timeout = timeout.map(timespec);
        let timeout =
            timeout.as_ref().map_or(std::ptr::null(), |left| std::ptr::from_ref(left.as_ref()));
        let count = self.fds.len() as libc::nfds_t;
        // SAFETY: the array is valid for `count` entries, the timeout is null or points to a
        // live value, and a null mask leaves the signal mask alone.
        let ready = unsafe { libc::ppoll(self.fds.as_mut_ptr(), count, timeout, std::ptr::null()) };
        Errno::result(ready).map(drop)
    }

    /// Puts all tokens into `ready`, each with what is waited for: for when waiting fails and
    /// nobody knows what is ready. Whoever answers has to bear that nothing is.
    pub(crate) fn all_into(&self, ready: &mut Vec<(T, PollFlags)>) {
        ready.clear();
        let all = self.fds.iter().zip(&self.tokens);
        ready.extend(all.map(|(fd, token)| (*token, PollFlags::from_bits_retain(fd.events))));
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

/// Whether `fd` can be read, without waiting; also when the kernel cannot say.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    // A non-blocking read tells the rest.
    !matches!(look(fd, PollFlags::POLLIN), Ok(false))
}

/// Whether `fd` reports one of `events`, a hang-up or an error at present.
///
/// # Errors
///
/// The kernel cannot say.
pub(crate) fn look(fd: BorrowedFd<'_>, events: PollFlags) -> nix::Result<bool> {
    wait_once(fd, events, Duration::ZERO)
}

/// Waits until `fd` reports one of `events`, a hang-up or an error; `false` when `timeout`
/// came first. Allocates nothing.
///
/// `true` as well when waiting itself goes on failing (no kernel memory), after a pause: the
/// descriptor may be ready, and whoever asks does not wait for ever.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, timeout: Duration) -> bool {
    let end = super::time::monotonic().saturating_add(timeout);
    let mut failures = 0;
    loop {
        let left = end.saturating_sub(super::time::monotonic());
        match wait_once(fd, events, left) {
            Ok(true) => return true,
            Ok(false) if left.is_zero() => return false,
            Ok(false) => {}
            Err(_) => {
                failures += 1;
                if failures == FAILURES {
                    return true;
                }
                super::time::sleep(FAILED_PAUSE.min(left));
            }
        }
    }
}

/// How often a wait that fails is tried again, and after which pause.
const FAILURES: u32 = 10;
const FAILED_PAUSE: Duration = Duration::from_millis(10);

fn wait_once(fd: BorrowedFd<'_>, events: PollFlags, timeout: Duration) -> nix::Result<bool> {
    let mut fd = libc::pollfd { fd: fd.as_raw_fd(), events: events.bits(), revents: 0 };
    let timeout = timespec(timeout);
    // SAFETY: one entry and the timeout, both live; a null mask leaves the signal mask alone.
    let ready = unsafe { libc::ppoll(&raw mut fd, 1, timeout.as_ref(), std::ptr::null()) };
    Errno::result(ready).map(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::ForkResult;

    use super::*;

    #[test]
    fn a_set_says_what_is_ready_in_the_order_of_adding() {
        let pipes = [0; 3].map(|_| nix::unistd::pipe().unwrap());
        let mut set = PollSet::new();
        for (token, (reader, _)) in pipes.iter().enumerate() {
            set.add(reader.as_fd(), PollFlags::POLLIN, token);
        }
        assert!(set.watches(2) && !set.watches(3));
        let mut ready = vec![(7, PollFlags::POLLPRI)];
        set.wait(Some(Duration::ZERO)).unwrap();
        set.ready_into(&mut ready);
        assert_eq!(ready, []);
        for number in [2, 0] {
            nix::unistd::write(&pipes[number].1, b"x").unwrap();
        }
        set.wait(None).unwrap();
        set.ready_into(&mut ready);
        assert_eq!(ready, [(0, PollFlags::POLLIN), (2, PollFlags::POLLIN)]);
        set.all_into(&mut ready);
        assert_eq!(ready, [0, 1, 2].map(|token| (token, PollFlags::POLLIN)));
        set.clear();
        assert!(!set.watches(0));
        set.wait(Some(Duration::ZERO)).unwrap();
        set.ready_into(&mut ready);
        assert_eq!(ready, []);
    }

    #[test]
    fn a_look_does_not_wait() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert_eq!(look(reader.as_fd(), PollFlags::POLLIN), Ok(false));
        assert!(!is_readable(reader.as_fd()));
        nix::unistd::write(&writer, b"x").unwrap();
        assert_eq!(look(reader.as_fd(), PollFlags::POLLIN), Ok(true));
        assert_eq!(look(reader.as_fd(), PollFlags::empty()), Ok(false));
        assert!(is_readable(reader.as_fd()));
        drop(writer);
        assert_eq!(look(reader.as_fd(), PollFlags::empty()), Ok(true), "the hang-up");
    }

    /// In a child of its own, where the limit on descriptors refuses each wait.
    #[test]
    fn a_wait_that_is_always_refused_comes_to_an_end() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let child = match super::super::process::fork().unwrap() {
            ForkResult::Child => {
                let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                // SAFETY: the structure is live during the call, which keeps nothing of it.
                let limited = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
                let refused = is_readable(reader.as_fd())
                    && look(reader.as_fd(), PollFlags::POLLIN) == Err(Errno::EINVAL);
                let before = super::super::time::monotonic();
                let said = wait_for(reader.as_fd(), PollFlags::POLLIN, Duration::from_secs(3600));
                let took = super::super::time::monotonic() - before;
                let good = limited == 0 && refused && said && took >= FAILED_PAUSE * (FAILURES - 1);
                // Not zero, with which a child that panics would leave.
                super::super::process::leave(if good { 7 } else { 8 });
            }
            ForkResult::Parent { child } => child,
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
    }

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
