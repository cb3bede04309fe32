//! Attach clients over real sockets: what reaches them, what reaches the container, and what
//! they can do wrong.

mod input;
mod listening;
mod output;
mod properties;

use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send, shutdown,
    socket,
};

use super::*;
use crate::attach::AtLastLeave;
use crate::diagnostics::Level;
use crate::sys::time::monotonic;

const DEADLINE: Duration = Duration::from_secs(20);

fn quiet() -> Diagnostics {
    let diagnostics = Diagnostics::new(Level::Error, None);
    diagnostics.leave_stderr();
    diagnostics
}

/// One monitor's attach room with its loop, in an own bundle.
struct World {
    dir: tempfile::TempDir,
    attach: Attach,
    stdin: ContainerStdin,
    diagnostics: Diagnostics,
}

impl World {
    fn new(stdin: ContainerStdin, stall_timeout: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let diagnostics = quiet();
        let place = AttachPlace::Bundle;
        let attach = Attach::create(&place, None, dir.path(), stall_timeout, &diagnostics).unwrap();
        Self { dir, attach, stdin, diagnostics }
    }

    fn connect(&mut self) -> Peer {
        let peer = Peer::connect(&self.dir.path().join("attach"));
        assert_eq!(self.attach.accept(monotonic(), &self.diagnostics), 1);
        peer
    }

    fn broadcast(&mut self, bytes: &[u8]) {
        self.attach.broadcast(Stream::Stdout, bytes, monotonic(), &self.diagnostics);
    }

    /// One turn of the loop; returns how many descriptors had something to say.
    fn turn(&mut self, timeout_ms: u16) -> usize {
        let now = monotonic();
        let clients: Vec<_> = self.attach.clients(&self.stdin).collect();
        let mut fds: Vec<PollFd<'_>> =
            clients.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)).collect();
        if let Some((fd, events)) = self.stdin.poll() {
            fds.push(PollFd::new(fd, events));
        }
        poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap();
        let seen: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap()).collect();
        let ids: Vec<ClientId> = clients.iter().map(|client| client.0).collect();
        for (id, events) in ids.iter().zip(&seen) {
            if !events.is_empty() {
                self.attach.on_client(*id, *events, &mut self.stdin, now, &self.diagnostics);
            }
        }
        if let Some(events) = seen.get(ids.len()).filter(|events| !events.is_empty()) {
            self.stdin.on_ready(*events, &self.diagnostics);
        }
        self.attach.on_deadline(monotonic(), &self.diagnostics);
        seen.iter().filter(|events| !events.is_empty()).count()
    }

    #[track_caller]
    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = monotonic() + DEADLINE;
        while !done(self) {
            assert!(monotonic() < end, "not within {DEADLINE:?}");
            self.turn(1);
        }
    }

    /// Turns until nothing more happens, which must come soon: a loop that spins fails here.
    #[track_caller]
    fn settle(&mut self) {
        assert!((0..1000).any(|_| self.turn(0) == 0), "the loop spins");
    }

    fn client_count(&self) -> usize {
        self.attach.clients.len()
    }
}

/// An attach client, as a caller's program is one.
struct Peer(OwnedFd);

impl Peer {
    fn connect(path: &Path) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let peer = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        connect(peer.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        Self(peer)
    }

    fn send(&self, bytes: &[u8]) {
        let sent = send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The next packet if there is one; empty at the end of file.
    fn try_receive(&self) -> nix::Result<Vec<u8>> {
        let mut packet = vec![0; 10000];
        let length = recv(self.0.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT)?;
        packet.truncate(length);
        Ok(packet)
    }

    fn finish_sending(&self) {
        shutdown(self.0.as_raw_fd(), Shutdown::Write).unwrap();
    }
}

/// The container's end of its input, never blocking.
fn stdin_pipe(at_last_leave: AtLastLeave) -> (OwnedFd, ContainerStdin) {
    let flags = nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK;
    let (read_end, write_end) = nix::unistd::pipe2(flags).unwrap();
    (read_end, ContainerStdin::pipe(write_end, at_last_leave))
}

/// The end comes at once, unless a process that another test is starting holds the other end
/// for a moment.
#[track_caller]
fn assert_input_ends(input: &OwnedFd) {
    let end = monotonic() + DEADLINE;
    loop {
        match read_input(input) {
            Some(bytes) => return assert_eq!(bytes, b""),
            None => assert!(monotonic() < end, "the input does not end"),
        }
        std::thread::yield_now();
    }
}

/// What the container can read now; `None` means that it would have to wait.
fn read_input(input: &OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 100_000];
    match nix::unistd::read(input, &mut bytes) {
        Ok(count) => {
            bytes.truncate(count);
            Some(bytes)
        }
        Err(errno) => {
            assert_eq!(errno, Errno::EAGAIN);
            None
        }
    }
}
