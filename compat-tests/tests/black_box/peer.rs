//! Our ends of the sockets a monitor talks over.

use crate::facts::DEADLINE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send, shutdown,
    socket, socketpair,
};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A packet socket.
pub struct Peer(OwnedFd);

/// What a read yielded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Received {
    Packet(Vec<u8>),
    End,
}

impl Peer {
    /// Makes a pair of connected sockets: ours and the monitor's.
    pub fn pair() -> (Self, OwnedFd) {
        let kind = SockType::SeqPacket;
        let pair = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        (Self(pair.0), pair.1)
    }

    /// Connects to an attach socket once it exists.
    #[track_caller]
    pub fn attach(path: &Path) -> Self {
        crate::facts::await_fact("the attach socket", || Self::try_attach(path))
    }

    /// Connects to an attach socket, if somebody listens there.
    pub fn try_attach(path: &Path) -> Option<Self> {
        let kind = SockType::SeqPacket;
        let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        connect(fd.as_raw_fd(), &UnixAddr::new(path).unwrap()).ok().map(|()| Self(fd))
    }

    /// Connects to an attach socket, unless that has no room for `limit`.
    pub fn attach_within(path: &Path, limit: Duration) -> Option<Self> {
        let address = UnixAddr::new(path).unwrap();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        crate::facts::within(limit, || {
            let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
            connect(fd.as_raw_fd(), &address).ok().map(|()| Self(fd))
        })
    }

    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
    }

    /// Sends one packet if it is taken at once.
    pub fn try_send(&self, bytes: &[u8]) -> bool {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        send(self.0.as_raw_fd(), bytes, flags).is_ok()
    }

    /// The length of the next packet, 0 at the end of the stream; `None` when nothing is there now.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Option<usize> {
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(nix::errno::Errno::EAGAIN) => None,
            // A reset connection is an end too, as it is for real callers.
            received => Some(received.unwrap_or(0)),
        }
    }

    /// Waits for the next packet; returns its length, 0 at an end of file, or the error that is there
    /// in its place.
    #[track_caller]
    pub fn read(&self) -> nix::Result<usize> {
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        let mut interests = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        assert!(poll(&mut interests, timeout).unwrap() > 0, "nothing comes");
        recv(self.0.as_raw_fd(), &mut [0; 8200], MsgFlags::empty())
    }

    pub fn finish_sending(&self) {
        shutdown(self.0.as_raw_fd(), Shutdown::Write).unwrap();
    }

    /// The next packet or the end of the stream.
    #[track_caller]
    pub fn receive(&self) -> Received {
        self.receive_within(DEADLINE).expect("a packet before the deadline")
    }

    /// The same, or nothing when `limit` has passed first.
    pub fn receive_within(&self, limit: Duration) -> Option<Received> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut interests = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut interests, timeout).unwrap() > 0 {
                let mut buffer = vec![0; 65536];
                // A reset connection is an end too, as it is for real callers.
                let count = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
                buffer.truncate(count);
                return Some(match count {
                    0 => Received::End,
                    _ => Received::Packet(buffer),
                });
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    /// The next packet as text.
    #[track_caller]
    pub fn text(&self) -> String {
        match self.receive() {
            Received::Packet(bytes) => String::from_utf8(bytes).unwrap(),
            Received::End => panic!("the stream ended where a packet was due"),
        }
    }

    /// One report: packets up to a newline; none if the stream ends instead.
    #[track_caller]
    pub fn report(&self) -> Option<String> {
        let mut all = Vec::new();
        while !all.ends_with(b"\n") {
            match self.receive() {
                Received::Packet(bytes) => all.extend(bytes),
                Received::End if all.is_empty() => return None,
                Received::End => panic!("half a report: {}", String::from_utf8_lossy(&all)),
            }
        }
        Some(String::from_utf8_lossy(&all).into_owned())
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn rest(&self) -> String {
        let mut all = Vec::new();
        while let Received::Packet(bytes) = self.receive() {
            all.extend(bytes);
        }
        String::from_utf8(all).unwrap()
    }
}

/// Opens a FIFO for reading, without waiting for a writer.
#[track_caller]
pub fn open_fifo(path: &Path) -> File {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// Appends at most so many bytes that are there now; returns how many came.
pub fn take(fifo: &mut File, bytes: &mut Vec<u8>, most: usize) -> usize {
    let mut buffer = vec![0; most];
    let count = fifo.read(&mut buffer).unwrap_or(0);
    bytes.extend_from_slice(&buffer[..count]);
    count
}
