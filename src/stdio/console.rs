//! The terminal that the runtime makes for the container and hands over through a socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::sys;

/// The socket on which the monitor waits for the terminal.
///
/// Exactly one connection is accepted and one descriptor taken from it.
pub(crate) struct ConsoleSocket {
    path: PathBuf,
    state: State,
}

enum State {
    Listening(OwnedFd),
    Connected(OwnedFd),
    Done,
}

/// How often a taken name is answered with another one.
const NAME_TRIES: u32 = 100;

impl ConsoleSocket {
    /// Listens at a new name `conmon-term.XXXXXX` in the directory for temporary files.
    ///
    /// The name is claimed by bind(2) itself, so that no other monitor can come between.
    pub(crate) fn create(directory: &Path) -> Result<Self, Failure> {
        let failed =
            |text: &'static str| move |errno| Failure::with_errno(text, errno).on(directory);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(failed("Failed to create socket"))?;
        fchmod(&listener, Mode::S_IRWXU)
            .map_err(failed("Failed to change console-socket permissions"))?;
        let path = bind_new_name(&listener, directory)
            .map_err(failed("Failed to bind to console-socket"))?;
        let listening = listen(&listener, Backlog::new(128).unwrap_or(Backlog::MAXCONN));
        // From here on the name goes away with the socket.
        let console = Self { path, state: State::Listening(listener) };
        listening.map_err(failed("Failed to listen on console-socket"))?;
        Ok(console)
    }

    /// What the runtime is told to connect to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What to wait for input on, until the terminal has come.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Listening(fd) | State::Connected(fd) => Some(fd.as_fd()),
            State::Done => None,
        }
    }

    /// Goes one step further: accepts the runtime or takes the terminal from it.
    ///
    /// # Errors
    ///
    /// The runtime cannot be accepted. What it sends being no terminal is warned of: it may
    /// yet say why, and is judged by that.
    pub(crate) fn advance(&mut self, diag: &Diagnostics) -> Result<Option<OwnedFd>, Failure> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Listening(listener) => {
                match sys::socket::accept(listener.as_fd()) {
                    Ok(connection) => {
                        self.state = State::Connected(connection);
                        self.unlink(diag);
                    }
                    Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => {
                        self.state = State::Listening(listener);
                    }
                    Err(errno) => {
                        self.unlink(diag);
                        let text = "Failed to accept console-socket connection";
                        return Err(Failure::with_errno(text, errno));
                    }
                }
                Ok(None)
            }
            State::Connected(connection) => match sys::passed_fd::receive(connection.as_fd()) {
                Ok(terminal) => {
                    let text = concat(&[
                        b"console = {.name = '', .fd = ",
                        terminal.as_raw_fd().to_string().as_bytes(),
                        b"}",
                    ]);
                    diag.debug(text);
                    Ok(Some(terminal))
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.state = State::Connected(connection);
                    Ok(None)
                }
                Err(errno) => {
                    // Why, the runtime may yet say: it is what failed in most cases.
                    diag.warn_errno("Failed to receive console file descriptor", errno);
                    Ok(None)
                }
            },
            State::Done => Ok(None),
        }
    }

    /// Stops waiting for a terminal; leaves nothing in the file system.
    pub(crate) fn give_up(&mut self, diag: &Diagnostics) {
        if let State::Listening(_) = std::mem::replace(&mut self.state, State::Done) {
            self.unlink(diag);
        }
    }

    fn unlink(&self, diag: &Diagnostics) {
        if let Err(errno) = nix::unistd::unlink(&self.path) {
            let path = self.path.as_os_str().as_encoded_bytes();
            diag.warn_errno(concat(&[b"failed to unlink ", path]), errno);
        }
    }
}

impl Drop for ConsoleSocket {
    /// Where the monitor fails before there is a runtime, nobody gives the socket up.
    fn drop(&mut self) {
        if let State::Listening(_) = self.state {
            let _ = nix::unistd::unlink(&self.path);
        }
    }
}

fn bind_new_name(listener: &OwnedFd, directory: &Path) -> nix::Result<PathBuf> {
    let mut last = Errno::EADDRINUSE;
    for _ in 0..NAME_TRIES {
        let path = directory.join(format!("conmon-term.{}", crate::atomic_file::random_suffix()));
        // A path too long for an address is bound through its directory; whether the
        // runtime can connect to it is for the runtime to say.
        let bound = match UnixAddr::new(&path) {
            Ok(address) => bind(listener.as_raw_fd(), &address),
            Err(_) => bind_in_directory(listener, &path),
        };
        match bound {
            Ok(()) => return Ok(path),
            Err(Errno::EADDRINUSE) => last = Errno::EADDRINUSE,
            Err(errno) => return Err(errno),
        }
    }
    Err(last)
}

fn bind_in_directory(listener: &OwnedFd, path: &Path) -> nix::Result<()> {
    use nix::fcntl::{OFlag, open};
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::EINVAL);
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    bind(listener.as_raw_fd(), &UnixAddr::new(&short)?)
}

/// Makes `terminal` end lines as terminals do: a newline is sent as CR NL.
pub(crate) fn translate_newlines(terminal: BorrowedFd<'_>, diag: &Diagnostics) {
    match tcgetattr(terminal) {
        Err(errno) => diag.warn_errno("Failed to get console terminal settings", errno),
        Ok(mut settings) => {
            settings.output_flags |= OutputFlags::ONLCR;
            if let Err(errno) = tcsetattr(terminal, SetArg::TCSANOW, &settings) {
                diag.warn_errno("Failed to set console terminal settings", errno);
            }
        }
    }
}
