//! Clients of the attach socket.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket,
};

use super::problem::Problem;
use super::procfs::PATIENCE;

/// A stream's tag and one chunk.
const PACKET_BYTES: usize = 8193;

/// A connection to a monitor's attach socket.
pub struct Client(OwnedFd);

impl Client {
    pub fn connect(socket_path: &Path) -> Result<Self, Problem> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
            .map_err(Problem::io("a socket"))?;
        let address = UnixAddr::new(socket_path).map_err(Problem::io("the attach socket"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self(fd)),
                // Its queue of new clients is full for the moment.
                Err(Errno::EAGAIN | Errno::EINTR) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(errno) => return Err(Problem::io("the attach socket")(errno)),
            }
        }
    }

    /// Sends one byte and waits for its echo.
    pub fn echo(&self) -> Result<(), Problem> {
        let fd = self.0.as_raw_fd();
        send(fd, b"x", MsgFlags::empty()).map_err(Problem::io("sending"))?;
        let mut packet = [0; PACKET_BYTES];
        match recv(fd, &mut packet, MsgFlags::empty()) {
            Ok(2) if packet.starts_with(&[2, b'x']) => Ok(()),
            Ok(length) => Err(Problem::new(format!("{length} bytes instead of an echo"))),
            Err(errno) => Err(Problem::io("receiving")(errno)),
        }
    }

    /// Sends a line and waits for the answer.
    pub fn ask(&self, line: &[u8]) -> Result<(), Problem> {
        let fd = self.0.as_raw_fd();
        send(fd, line, MsgFlags::empty()).map_err(Problem::io("sending"))?;
        let mut packet = [0; PACKET_BYTES];
        match recv(fd, &mut packet, MsgFlags::empty()) {
            Ok(2..) => Ok(()),
            Ok(_) => Err(Problem::new("the connection ended")),
            Err(errno) => Err(Problem::io("receiving")(errno)),
        }
    }

    /// Reads everything in a thread of its own.
    pub fn read_on(self) -> Reader {
        let bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut packet = [0; PACKET_BYTES];
            while let Ok(length @ 1..) = recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                count.fetch_add(length as u64 - 1, Ordering::Relaxed);
            }
        });
        Reader { bytes, thread }
    }
}

/// A client that is being read.
pub struct Reader {
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// The container's bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits for the end of the connection.
    pub fn join(self) {
        let _ = self.thread.join();
    }
}
