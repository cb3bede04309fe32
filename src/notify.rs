//! The sd-notify relay: a socket inside the bundle whose harmless messages go on to the
//! service manager, under the monitor's own credentials.
//!
//! What arrives comes from the container and is hostile: only known lines pass, and neither
//! an odd datagram nor an absent service manager ends the relay.

#[cfg(test)]
mod properties;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendto, socket,
};
use nix::sys::stat::Mode;

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, Text, concat};
use crate::sys::poll::is_readable;
use crate::unix_socket::bind_below;

/// Longer datagrams are cut.
const DATAGRAM_BYTES: usize = 32768;
/// Longer host paths are cut, as they do not fit into an address.
const ADDRESS_BYTES: usize = 107;
/// How many datagrams one turn forwards, so that a flood of them starves nobody.
const DATAGRAMS_PER_TURN: usize = 16;
/// Turns for the last words: enough for any length of the kernel's queue (net.unix.max_dgram_qlen)
/// that is in use.
const LAST_TURNS: usize = 64;

/// The reference makes this text from the socket's name when it is needed.
const UNDELIVERED: &str = "Failed to write to socket host notify socket";

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
                Ok(datagram) => filter(datagram),
                Err(Errno::EINTR | Errno::ENOMEM) => continue,
                Err(_) => return,
            };
            if message.is_empty() {
                continue;
            }
            match self.send(&message) {
                Ok(()) => self.failing = false,
                Err(errno) => {
                    if !self.failing {
                        diagnostics.warn_errno(Text::made(UNDELIVERED), errno);
                    }
                    self.failing = true;
                }
            }
        }
    }

    /// Forwards what was said up to the container's end, as much as the socket can hold; what
    /// another process goes on saying is not waited for.
    pub(crate) fn forward_rest(&mut self, diagnostics: &Diagnostics) {
        for _ in 0..LAST_TURNS {
            if !is_readable(self.fd()) {
                return;
            }
            self.forward(diagnostics);
        }
    }

    /// Takes one datagram into a buffer of its size: none is held while nothing happens.
    fn receive(&self) -> nix::Result<Vec<u8>> {
        let socket = self.container.as_raw_fd();
        let size = recv(socket, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
        let mut datagram = Vec::new();
        if datagram.try_reserve_exact(size.min(DATAGRAM_BYTES)).is_err() {
            // It is lost, or it would be found here again at once.
            recv(socket, &mut [], MsgFlags::empty())?;
            return Err(Errno::ENOMEM);
        }
        datagram.resize(size.min(DATAGRAM_BYTES), 0);
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
///
/// Works in place: how much there is to say is the container's choice.
pub(crate) fn filter(mut datagram: Vec<u8>) -> Vec<u8> {
    let end = datagram.iter().position(|&byte| byte == 0).unwrap_or(datagram.len());
    datagram.truncate(end);
    let allowed = |line: &[u8]| {
        WHOLE_LINES.contains(&line) || LINE_STARTS.iter().any(|start| line.starts_with(start))
    };
    let (mut start, mut kept) = (0, 0);
    while let Some(rest) = datagram.get(start..).filter(|rest| !rest.is_empty()) {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        let line = start..start + length;
        start = line.end + 1;
        if datagram.get(line.clone()).is_some_and(allowed) {
            if kept > 0 {
                // A line before it has ended at or behind this place.
                if let Some(place) = datagram.get_mut(kept) {
                    *place = b'\n';
                }
                kept += 1;
            }
            datagram.copy_within(line, kept);
            kept += length;
        }
    }
    datagram.truncate(kept);
    datagram
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::UnixDatagram;

    use rstest::rstest;

    use super::*;
    use crate::diagnostics::Level;

    #[rstest]
    #[case::ready(b"READY=1", b"READY=1")]
    #[case::newline_at_the_end(b"READY=1\n", b"READY=1")]
    #[case::carriage_returns(b"READY=1\r\nSTOPPING=1\r", b"READY=1\nSTOPPING=1")]
    #[case::order_is_kept(b"STATUS=up\nREADY=1\nSTATUS=", b"STATUS=up\nREADY=1\nSTATUS=")]
    #[case::every_whole_line(
        b"READY=1\nRELOADING=1\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger",
        b"READY=1\nRELOADING=1\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger"
    )]
    #[case::every_prefix(
        b"STATUS=a b\nERRNO=2\nBUSERROR=x.y\nMONOTONIC_USEC=123",
        b"STATUS=a b\nERRNO=2\nBUSERROR=x.y\nMONOTONIC_USEC=123"
    )]
    #[case::bytes_that_are_no_text(b"STATUS=\xff\xfe", b"STATUS=\xff\xfe")]
    #[case::what_speaks_for_the_monitor(
        b"MAINPID=1\nFDSTORE=1\nFDNAME=x\nREADY=1\nWATCHDOG_USEC=5\nEXTEND_TIMEOUT_USEC=9",
        b"READY=1"
    )]
    #[case::nearly(b"READY=12\n READY=1\nREADY=1 \nREADY=\nready=1\nSTATUS\nXSTATUS=1", b"")]
    #[case::nul_ends_it(b"READY=1\nSTA\0TUS=x\nSTOPPING=1", b"READY=1")]
    #[case::nul_first(b"\0READY=1", b"")]
    #[case::empty(b"", b"")]
    #[case::blank_lines(b"\n\r\n\n", b"")]
    fn only_known_lines_pass(#[case] datagram: &[u8], #[case] expected: &[u8]) {
        assert_eq!(filter(datagram.to_vec()), expected);
    }

    struct World {
        dir: tempfile::TempDir,
        proxy: NotifyProxy,
        container: UnixDatagram,
    }

    fn quiet() -> Diagnostics {
        let diagnostics = Diagnostics::new(Level::Error, None);
        diagnostics.leave_stderr();
        diagnostics
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("notify")).unwrap();
            let host_path = dir.path().join("host");
            let proxy = NotifyProxy::create(dir.path(), &host_path, &quiet()).unwrap();
            let container = UnixDatagram::unbound().unwrap();
            container.connect(dir.path().join("notify/notify.sock")).unwrap();
            Self { dir, proxy, container }
        }

        fn bind_host(&self) -> UnixDatagram {
            let host = UnixDatagram::bind(self.dir.path().join("host")).unwrap();
            host.set_nonblocking(true).unwrap();
            host
        }

        fn say(&mut self, datagram: &[u8]) {
            self.container.send(datagram).unwrap();
            self.proxy.forward(&quiet());
        }
    }

    fn heard(host: &UnixDatagram) -> Option<Vec<u8>> {
        let mut datagram = vec![0; 100_000];
        let length = host.recv(&mut datagram).ok()?;
        datagram.truncate(length);
        Some(datagram)
    }

    #[test]
    fn what_may_pass_arrives_as_one_datagram() {
        let mut world = World::new();
        let host = world.bind_host();
        world.say(b"MAINPID=7\nREADY=1\nSTATUS=up\n");
        assert_eq!(heard(&host).unwrap(), b"READY=1\nSTATUS=up");
        world.say(b"MAINPID=7");
        assert_eq!(heard(&host), None);
    }

    #[test]
    fn everybody_in_the_container_may_speak() {
        let world = World::new();
        let metadata = world.dir.path().join("notify/notify.sock").symlink_metadata().unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o777);
    }

    /// known-defects E1: the reference closes the socket.
    #[test]
    fn an_empty_datagram_ends_nothing() {
        let mut world = World::new();
        let host = world.bind_host();
        world.say(b"");
        world.say(b"READY=1");
        assert_eq!(heard(&host).unwrap(), b"READY=1");
    }

    /// known-defects E2: after one failure the reference forwards nothing any more.
    #[test]
    fn an_absent_host_costs_what_is_said_meanwhile() {
        let mut world = World::new();
        world.say(b"STATUS=lost");
        let host = world.bind_host();
        world.say(b"READY=1");
        assert_eq!(heard(&host).unwrap(), b"READY=1");
        assert_eq!(heard(&host), None);
        assert!(!world.proxy.failing);
    }

    #[test]
    fn a_host_that_does_not_read_blocks_nobody() {
        let mut world = World::new();
        let host = world.bind_host();
        while !world.proxy.failing {
            world.say(b"STATUS=again");
        }
        while heard(&host).is_some() {}
        world.say(b"READY=1");
        assert_eq!(heard(&host).unwrap(), b"READY=1");
    }

    #[rstest]
    #[case::fits(32_768, 32_768)]
    #[case::too_long(40_000, 32_768)]
    fn a_datagram_is_cut_at_its_limit(#[case] sent: usize, #[case] expected: usize) {
        let mut world = World::new();
        let host = world.bind_host();
        let mut datagram = b"STATUS=".to_vec();
        datagram.resize(sent, b'x');
        world.say(&datagram);
        assert!(heard(&host).unwrap() == datagram[..expected]);
    }

    #[test]
    fn one_turn_forwards_a_bounded_number() {
        let mut world = World::new();
        let host = world.bind_host();
        world.container.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while world.container.send(b"READY=1").is_ok() {
            sent += 1;
        }
        world.proxy.forward(&quiet());
        let first_turn = std::iter::from_fn(|| heard(&host)).count();
        assert_eq!(first_turn, sent.min(DATAGRAMS_PER_TURN));
    }

    #[test]
    fn refuses_a_bundle_without_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let refused = NotifyProxy::create(dir.path(), Path::new("/host"), &quiet()).err().unwrap();
        assert_eq!(
            refused.sentence(),
            b"Failed to bind to console-socket No such file or directory"
        );
    }
}
