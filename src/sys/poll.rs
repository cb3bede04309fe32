//! poll(2) over a set that is rebuilt for each wait without allocating, and epoll(7) over one
//! that has not changed for a while.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::time::timespec;

/// What one wait watches: descriptors, each with the token it answers to.
///
/// Only the numbers are kept, and only until the next `clear`; the borrow at `add` makes
/// sure that each is open when it is added.
pub(crate) struct PollSet<T> {
    fds: Vec<libc::pollfd>,
    tokens: Vec<T>,
    /// The same set in the kernel.
    kept: Option<Kept>,
}

/// A set in the kernel. What it is to tell news of is in it twice.
struct Kept {
    epoll: Epoll,
    again: Vec<OwnedFd>,
}

/// Marks an event that tells of news alone. No set has so many entries.
const NEWS: u64 = 1 << 32;

impl<T: Copy> PollSet<T> {
    pub(crate) fn new() -> Self {
        Self { fds: Vec::new(), tokens: Vec::new(), kept: None }
    }

    pub(crate) fn clear(&mut self) {
        self.kept = None;
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

    /// Lets the kernel keep the set as it is, for [`wait_kept`](Self::wait_kept), until it is
    /// cleared: poll(2) asks each descriptor anew and enters and leaves its queue of waiters, which
    /// is most of what a wait costs. `tells_news`: which descriptors it is to tell news of.
    ///
    /// No descriptor of the set may be closed meanwhile.
    ///
    /// # Errors
    ///
    /// There is no descriptor or memory for it, or one in the set is always ready.
    pub(crate) fn keep(&mut self, tells_news: impl Fn(T) -> bool) -> nix::Result<()> {
        let mut kept =
            Kept { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, again: Vec::new() };
        for (index, (entry, token)) in self.fds.iter().zip(&self.tokens).enumerate() {
            // The bits of both calls are the same; see poll(2) and epoll_ctl(2).
            let events = EpollFlags::from_bits_retain(libc::c_int::from(entry.events));
            // SAFETY: it was open when it was added, and nothing has happened since.
            let fd = unsafe { BorrowedFd::borrow_raw(entry.fd) };
            kept.epoll.add(fd, EpollEvent::new(events, index as u64))?;
            if tells_news(*token) {
                let again = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(0))?;
                // SAFETY: the kernel has just made it, for nobody else.
                let again = unsafe { OwnedFd::from_raw_fd(again) };
                let news = EpollEvent::new(events | EpollFlags::EPOLLET, NEWS | index as u64);
                kept.epoll.add(&again, news)?;
                kept.again.push(again);
            }
        }
        self.kept = Some(kept);
        Ok(())
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Blocks until something in the kept set is ready, and says what has input if that is all
    /// there is to say, and whether that is news: it has come since the last time, and whatever
    /// happened before it would have been told as well. `None` says nothing; a wait for the set
    /// as usual does.
    ///
    /// Without news the kernel may have looked at a descriptor, because it was ready the last
    /// time, after it had gathered what else was.
    pub(crate) fn wait_kept(&self) -> Option<(T, bool)> {
        let mut events = [EpollEvent::empty(); 3];
        let count = self.kept.as_ref()?.epoll.wait(&mut events, EpollTimeout::NONE).ok()?;
        let (index, news) = match (count, events.map(|event| event.data())) {
            (1, [index, ..]) => (index, false),
            (2, [index, also, _]) if index ^ also == NEWS => (index.min(also), true),
            _ => return None,
        };
        let input = |event: &EpollEvent| event.events() == EpollFlags::EPOLLIN;
        let token = self.tokens.get(usize::try_from(index).ok()?).copied()?;
        events.iter().take(count).all(input).then_some((token, news))
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
    fn a_kept_set_tells_of_input_alone() {
        let pipes = [0; 3].map(|_| nix::unistd::pipe().unwrap());
        let mut set = PollSet::new();
        let fill = |set: &mut PollSet<usize>| {
            for (token, (reader, _)) in pipes.iter().enumerate() {
                set.add(reader.as_fd(), PollFlags::POLLIN, token);
            }
        };
        fill(&mut set);
        assert!(!set.is_kept());
        assert_eq!(set.wait_kept(), None, "nothing is kept");
        set.keep(|token| token == 1).unwrap();
        assert!(set.is_kept());
        nix::unistd::write(&pipes[1].1, b"x").unwrap();
        assert_eq!(set.wait_kept(), Some((1, true)));
        assert_eq!(set.wait_kept(), Some((1, false)), "it has not been read");
        nix::unistd::write(&pipes[2].1, b"x").unwrap();
        assert_eq!(set.wait_kept(), None, "two at once");
        nix::unistd::read(&pipes[1].0, &mut [0; 8]).unwrap();
        assert_eq!(set.wait_kept(), Some((2, false)), "nobody asked for news of it");
        nix::unistd::read(&pipes[2].0, &mut [0; 8]).unwrap();
        nix::unistd::write(&pipes[1].1, b"x").unwrap();
        assert_eq!(set.wait_kept(), Some((1, true)), "more has come");
        set.clear();
        assert!(!set.is_kept());

        let [_, _, (reader, writer)] = pipes;
        set.add(reader.as_fd(), PollFlags::POLLIN, 0);
        set.keep(|_| true).unwrap();
        drop(writer);
        assert_eq!(set.wait_kept(), None, "a hang-up as well");
    }

    #[test]
    fn what_is_always_ready_cannot_be_kept() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let mut set = PollSet::new();
        set.add(file.as_fd(), PollFlags::POLLIN, 0);
        assert_eq!(set.keep(|_| true), Err(Errno::EPERM));
        assert!(!set.is_kept());
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
