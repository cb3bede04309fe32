//! The sd-notify relay: a socket inside the bundle whose harmless messages go on to the
//! service manager, under the monitor's own credentials.
//!
//! What arrives comes from the container and is hostile: only known lines pass, and neither
//! an odd datagram nor an absent service manager ends the relay.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendto, socket,
};
use nix::sys::stat::Mode;

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::unix_socket::bind_below;

/// Longer datagrams are cut.
const DATAGRAM_BYTES: usize = 32768;
/// Longer host paths are cut, as they do not fit into an address.
const ADDRESS_BYTES: usize = 107;
/// How many datagrams one turn forwards, so that a flood of them starves nobody.
const DATAGRAMS_PER_TURN: usize = 16;

/// Both ends of the relay.
pub(crate) struct NotifyProxy {
    container: OwnedFd,
    host: OwnedFd,
    host_path: PathBuf,
    /// The last datagram could not be sent on, and that was warned of.
    failing: bool,
}

impl NotifyProxy {
    /// Listens at `<bundle>/notify/notify.sock` for the container; `notify` must exist.
    ///
    /// # Errors
    ///
    /// Refuses, in the reference's words.
    pub(crate) fn create(
        bundle: &Path,
        host_path: &Path,
        diagnostics: &Diagnostics,
    ) -> Result<Self, Failure> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let host = socket(AddressFamily::Unix, SockType::Datagram, flags, None).map_err(|e| {
            let path = host_path.as_os_str().as_bytes();
            Failure::with_errno(concat(&[b"Failed to create socket ", path]), e)
        })?;
        let mode = Mode::from_bits_truncate(0o777);
        let name = "notify/notify.sock";
        let container = bind_below(bundle, name, SockType::Datagram, mode, diagnostics)?;
        let cut = host_path.as_os_str().as_bytes();
        let cut = cut.get(..ADDRESS_BYTES).unwrap_or(cut);
        let host_path = PathBuf::from(std::ffi::OsStr::from_bytes(cut));
        Ok(Self { container, host, host_path, failing: false })
    }

    /// What to poll for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Forwards what waits, a bounded number of datagrams a turn.
    ///
    /// One that the service manager does not take is lost; the first of a row is warned of.
    pub(crate) fn forward(&mut self, diagnostics: &Diagnostics) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let message = match self.receive() {
                Ok(datagram) => filter(&datagram),
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            if message.is_empty() {
                continue;
            }
            match self.send(&message) {
                Ok(()) => self.failing = false,
                Err(errno) => {
                    if !self.failing {
                        diagnostics
                            .warn_errno("Failed to write to socket host notify socket", errno);
                    }
                    self.failing = true;
                }
            }
        }
    }

    /// Takes one datagram into a buffer of its size: none is held while nothing happens.
    fn receive(&self) -> nix::Result<Vec<u8>> {
        let socket = self.container.as_raw_fd();
        let size = recv(socket, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
        let mut datagram = vec![0; size.min(DATAGRAM_BYTES)];
        let received = recv(socket, &mut datagram, MsgFlags::empty())?;
        datagram.truncate(received);
        Ok(datagram)
    }

    fn send(&self, message: &[u8]) -> nix::Result<()> {
        let address = UnixAddr::new(&self.host_path)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendto(self.host.as_raw_fd(), message, &address, flags).map(drop)
    }
}

const WHOLE_LINES: [&[u8]; 5] =
    [b"READY=1", b"RELOADING=1", b"STOPPING=1", b"WATCHDOG=1", b"WATCHDOG=trigger"];
const LINE_STARTS: [&[u8]; 4] = [b"STATUS=", b"ERRNO=", b"BUSERROR=", b"MONOTONIC_USEC="];

/// The lines of `datagram` that a container may say, without a newline at the end; empty if
/// none may pass. What follows a NUL byte is ignored.
///
/// Anything that names a process or passes a descriptor would speak for the monitor.
fn filter(datagram: &[u8]) -> Vec<u8> {
    let text = datagram.split(|&byte| byte == 0).next().unwrap_or_default();
    let allowed = |line: &&[u8]| {
        WHOLE_LINES.contains(line) || LINE_STARTS.iter().any(|start| line.starts_with(start))
    };
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).filter(allowed);
    lines.collect::<Vec<_>>().join(&b'\n')
}
