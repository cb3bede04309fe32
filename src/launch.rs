//! From the caller's process to a monitor in the background: inherited descriptors, the
//! start pipe, the fork, the session.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, read, setsid};

use crate::atomic_file::write_atomically;
use crate::failure::{Failure, concat};
use crate::sys;

/// The environment variables that hold the numbers of the caller's pipes.
pub(crate) const START_PIPE: &str = "_OCI_STARTPIPE";
pub(crate) const SYNC_PIPE: &str = "_OCI_SYNCPIPE";
pub(crate) const ATTACH_PIPE: &str = "_OCI_ATTACHPIPE";

/// The descriptors the caller left open, less those the monitor has taken for itself.
///
/// They may be anything, for example sockets that keep a published port reserved; they stay
/// open until the container has ended and are then closed before the exit is recorded.
pub(crate) struct Inherited(Vec<OwnedFd>);

impl Inherited {
    pub(crate) fn new(fds: Vec<OwnedFd>) -> Self {
        Self(fds)
    }

    /// Takes the pipe whose number the environment variable `name` holds.
    ///
    /// `None` when the variable is unset. The pipe becomes close-on-exec. Where a variable that
    /// is taken later names the same descriptor, each gets one of its own.
    pub(crate) fn take_pipe(&mut self, name: &str) -> Result<Option<OwnedFd>, Failure> {
        let Some(value) = std::env::var_os(name) else { return Ok(None) };
        let number = parse_fd(&value).map_err(|errno| {
            let text = format!("unable to parse {name}");
            match errno {
                None => Failure::new(text),
                Some(errno) => Failure::with_errno(text, errno),
            }
        })?;
        let not_cloexec =
            |errno| Failure::with_errno(format!("unable to make {name} CLOEXEC"), errno);
        let taken_later: &[&str] = match name {
            START_PIPE => &[SYNC_PIPE, ATTACH_PIPE],
            SYNC_PIPE => &[ATTACH_PIPE],
            _ => &[],
        };
        let names_it =
            |name: &&str| std::env::var_os(name).is_some_and(|v| parse_fd(&v) == Ok(number));
        let shared = taken_later.iter().any(names_it);
        self.take(number, shared).map(Some).map_err(not_cloexec)
    }

    /// Keeps one more descriptor that the caller may still be watching.
    pub(crate) fn keep(&mut self, fd: OwnedFd) {
        self.0.push(fd);
    }

    /// Closes what is left.
    pub(crate) fn close(&mut self) {
        self.0.clear();
    }

    /// A `shared` descriptor stays, to be taken again; what is handed out is a duplicate.
    fn take(&mut self, number: RawFd, shared: bool) -> nix::Result<OwnedFd> {
        if (0..=2).contains(&number) {
            // The standard descriptors are replaced later; the pipe must outlive that.
            return sys::fd::duplicate_stdio(number);
        }
        let held = self.0.iter().position(|fd| fd.as_raw_fd() == number).ok_or(Errno::EBADF)?;
        let original = self.0.get(held).ok_or(Errno::EBADF)?;
        fcntl(original, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        if shared {
            return original
                .try_clone()
                .map_err(|error| error.raw_os_error().map_or(Errno::EBADF, Errno::from_raw));
        }
        Ok(self.0.swap_remove(held))
    }
}

/// Whether the environment variable `name` holds the number of stdin.
pub(crate) fn names_stdin(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| parse_fd(&value) == Ok(0))
}

/// Reads a descriptor's number as strtol(3) does, but the whole of `value` must be one.
///
/// An empty value reads as 0. The errno is `ERANGE` for a number too large, else none.
fn parse_fd(value: &OsStr) -> Result<RawFd, Option<Errno>> {
    let text = value.as_bytes().trim_ascii_start();
    if value.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).map_err(|_| None)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(None);
    }
    let number: i64 = text.parse().map_err(|_| Some(Errno::ERANGE))?;
    // A number no descriptor can have is as closed as any other.
    Ok(RawFd::try_from(number).unwrap_or(-1))
}

/// Waits for the caller's permission to go on: some bytes or the end of the pipe.
///
/// Until then nothing may be forked, since the caller may be moving this process to a cgroup.
#[inline(never)]
pub(crate) fn read_start_pipe(pipe: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut ignored = [0; 8192];
    loop {
        match read(pipe, &mut ignored) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let forever = std::time::Duration::MAX;
                sys::poll::wait_for(pipe, nix::poll::PollFlags::POLLIN, forever);
            }
            Err(errno) => return Err(Failure::with_errno("start-pipe read failed", errno)),
        }
    }
}

/// /dev/null, once for reading and once for writing.
pub(crate) struct Null {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
}

impl Null {
    pub(crate) fn open() -> Result<Self, Failure> {
        let open = |mode| {
            open("/dev/null", mode | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| Failure::with_errno("Failed to open /dev/null", errno))
        };
        Ok(Self { reader: open(OFlag::O_RDONLY)?, writer: open(OFlag::O_WRONLY)? })
    }

    /// Makes /dev/null of the process's standard descriptors.
    pub(crate) fn replace_stdio(&self) -> Result<(), Failure> {
        let failed =
            |name| move |errno| Failure::with_errno(format!("Failed to dup over {name}"), errno);
        dup2_stdin(&self.reader).map_err(failed("stdin"))?;
        dup2_stdout(&self.writer).map_err(failed("stdout"))?;
        dup2_stderr(&self.writer).map_err(failed("stderr"))
    }
}

/// Which of the two processes this is after going to the background.
pub(crate) enum Side {
    /// The caller's child; its work is done.
    Caller,
    /// The monitor.
    Monitor,
}

/// Forks; the caller's side records the monitor's pid in `pidfile` and may then leave.
///
/// The monitor does not start before its pid is recorded, and ends when that fails: a
/// monitor the caller has been told does not exist must not run a container.
///
/// # Errors
///
/// On the caller's side, with everything undone; on the monitor's if it cannot learn whether
/// it may begin.
pub(crate) fn go_to_background(pidfile: Option<&Path>) -> Result<Side, Failure> {
    let fork_failed = |errno| Failure::with_errno("Failed to fork the create command", errno);
    let gate = match pidfile {
        None => None,
        Some(path) => {
            let (wait, release) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(fork_failed)?;
            Some((path, wait, release))
        }
    };
    match sys::process::fork().map_err(fork_failed)? {
        ForkResult::Child => {
            if let Some((_, wait, release)) = gate {
                drop(release);
                match read_retrying(wait.as_fd()) {
                    Ok(1) => {}
                    // The caller's side has failed and says so itself.
                    Ok(_) => sys::process::leave(1),
                    Err(errno) => {
                        let what = "Failed to wait for the conmon pidfile";
                        return Err(Failure::with_errno(what, errno));
                    }
                }
            }
            Ok(Side::Monitor)
        }
        ForkResult::Parent { child } => {
            if let Some((path, _wait, release)) = gate {
                let pid = child.to_string();
                write_atomically(path, pid.as_bytes()).map_err(|failure| {
                    let reason = failure.sentence();
                    Failure::new(concat(&[b"Failed to write conmon pidfile: ", &reason]))
                })?;
                release_monitor(&release)?;
            }
            Ok(Side::Caller)
        }
    }
}

/// Lets the monitor begin.
fn release_monitor(gate: &OwnedFd) -> Result<(), Failure> {
    loop {
        match nix::unistd::write(gate, b"1") {
            // The monitor may have been killed meanwhile; that is not for us to report.
            Ok(_) | Err(Errno::EPIPE) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::with_errno("Failed to start the monitor", errno)),
        }
    }
}

fn read_retrying(fd: BorrowedFd<'_>) -> nix::Result<usize> {
    loop {
        match read(fd, &mut [0]) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Leaves the caller's session and becomes the one that orphans are handed to.
pub(crate) fn become_subreaper() -> Result<(), Failure> {
    // Fails for a process group's leader, which may then stay where it is.
    let _ = setsid();
    prctl::set_child_subreaper(true)
        .map_err(|errno| Failure::with_errno("Failed to set as subreaper", errno))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("7", Ok(7))]
    #[case::empty("", Ok(0))]
    #[case::blanks_and_sign(" +7", Ok(7))]
    #[case::negative("-1", Ok(-1))]
    #[case::text("abc", Err(None))]
    #[case::trailing_text("12x", Err(None))]
    #[case::too_large("99999999999999999999", Err(Some(Errno::ERANGE)))]
    fn reads_pipe_numbers_as_strtol_does(
        #[case] value: &str,
        #[case] expected: Result<RawFd, Option<Errno>>,
    ) {
        assert_eq!(parse_fd(OsStr::new(value)), expected);
    }

    #[test]
    fn a_shared_descriptor_can_be_taken_again() {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        let number = writer.as_raw_fd();
        let mut inherited = Inherited::new(vec![writer]);
        let first = inherited.take(number, true).unwrap();
        let second = inherited.take(number, false).unwrap();
        assert_ne!(first.as_raw_fd(), second.as_raw_fd());
        let is_cloexec =
            |fd: &OwnedFd| fcntl(fd, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC != 0;
        assert!(is_cloexec(&first) && is_cloexec(&second));
        assert_eq!(inherited.take(number, false).err(), Some(Errno::EBADF));
    }

    #[test]
    fn a_pipe_that_is_not_open_is_refused() {
        assert_eq!(Inherited::new(Vec::new()).take(99, false).err(), Some(Errno::EBADF));
    }
}
