//! Attach clients and their queues: any order of output, reading, sending and leaving, over real
//! sockets that hold little.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send,
    setsockopt, shutdown, socket, sockopt,
};

use super::{quiet, scratch};
use crate::attach::{AtLastLeave, Attach, ClientId, ContainerStdin};
use crate::config::AttachPlace;
use crate::diagnostics::Diagnostics;
use crate::stream::{CHUNK_BYTES, Stream};

const MOST_CLIENTS: usize = 4;
/// What a client's socket holds (the kernel doubles it): a packet of a whole chunk, or a few small ones.
const SOCKET_BYTES: usize = 6000;
/// More turns than anything here can take.
const TURNS: usize = 100_000;
/// The longest output, and what outputs are pieces of: no two packets in a row are alike. Made once,
/// since a loop over bytes costs ten times as much here as copying them.
const LONGEST_OUTPUT: usize = 8000 + 31 * 300;
static PATTERN: [u8; LONGEST_OUTPUT + 256] = {
    let mut pattern = [0; LONGEST_OUTPUT + 256];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = (at % 251) as u8;
        at += 1;
    }
    pattern
};

/// A client's program.
struct Peer {
    socket: OwnedFd,
    number: u8,
    sends: bool,
    /// What it is still to receive.
    owed: VecDeque<Vec<u8>>,
    /// How much of what it sent the container has not read.
    typed: usize,
}

impl Peer {
    /// Takes up to `count` packets, each of which must be the next one owed; returns whether the end
    /// of file came.
    fn receive(&mut self, count: usize) -> bool {
        PACKET.with_borrow_mut(|packet| {
            for _ in 0..count {
                match recv(self.socket.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT) {
                    Ok(0) => return true,
                    Ok(length) => {
                        let owed = self.owed.pop_front();
                        assert!(owed.as_deref() == Some(&packet[..length]), "another packet");
                    }
                    Err(_) => break,
                }
            }
            false
        })
    }
}

struct World {
    attach: Attach,
    stdin: ContainerStdin,
    input: OwnedFd,
    peers: Vec<Peer>,
    next: u8,
    diagnostics: Diagnostics,
    buffer: Vec<u8>,
}

thread_local! {
    /// Made once and used by all executions that do not end it: it has no client in between.
    static ATTACH: RefCell<Option<Attach>> = const { RefCell::new(None) };
    /// What the container reads into, its pages there already: more than a pipe holds.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 70_000]);
    /// What a client receives into.
    static PACKET: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK_BYTES + 2]);
    static BUNDLE: PathBuf = {
        let bundle = scratch("-bundle");
        std::fs::create_dir_all(&bundle).unwrap();
        bundle
    };
}

/// The first byte chooses what becomes of standard input and whether the container ends; after it, two
/// bytes are a step.
pub fn attach(data: &[u8]) {
    let [kind, steps @ ..] = data else { return };
    let (ends, closes) = (kind & 7 == 7, kind & 8 != 0);
    let mut world = World::new(if closes { AtLastLeave::Close } else { AtLastLeave::Keep });
    for step in steps.chunks_exact(2) {
        world.step(step[0], usize::from(step[1]));
    }
    if ends {
        world.attach.begin_exit();
        world.attach.end_output(Duration::ZERO, &world.diagnostics);
        world.turn_until(|world| {
            let count = world.peers.len();
            world.peers.retain_mut(|peer| !peer.receive(usize::MAX) || !peer.owed.is_empty());
            // One that ends with a debt never has it paid.
            count == 0
        });
        BUFFER.set(world.buffer);
        return;
    }
    world.turn_until(|world| {
        world.peers.iter_mut().for_each(|peer| assert!(!peer.receive(usize::MAX)));
        world.read(usize::MAX);
        let done = |peer: &Peer| peer.owed.is_empty() && (closes || peer.typed == 0);
        world.peers.iter().all(done)
    });
    assert!(!world.attach.has_queued() && !world.attach.is_congested());
    world.peers.clear();
    world.turn_until(|world| {
        world.read(usize::MAX);
        world.attach.clients(&world.stdin).next().is_none()
    });
    ATTACH.set(Some(world.attach));
    BUFFER.set(world.buffer);
}

impl World {
    fn new(at_last_leave: AtLastLeave) -> Self {
        let diagnostics = quiet();
        let attach = ATTACH.take().unwrap_or_else(|| {
            let bundle = BUNDLE.with(PathBuf::clone);
            let _ = std::fs::remove_file(bundle.join("attach"));
            Attach::create(&AttachPlace::Bundle, None, &bundle, None, &diagnostics).unwrap()
        });
        let flags = nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK;
        let (input, write_end) = nix::unistd::pipe2(flags).unwrap();
        let stdin = ContainerStdin::pipe(write_end, at_last_leave);
        let buffer = BUFFER.take();
        Self { attach, stdin, input, peers: Vec::new(), next: 0, diagnostics, buffer }
    }

    fn step(&mut self, step: u8, value: usize) {
        let chosen = usize::from(step >> 3) % self.peers.len().max(1);
        let more = self.peers.len() < MOST_CLIENTS && self.next < 200;
        match (step & 7, self.peers.get_mut(chosen)) {
            (0, _) if more => self.connect(),
            (1 | 2, _) if !self.attach.is_congested() => {
                let stream = if step & 7 == 1 { Stream::Stdout } else { Stream::Stderr };
                let length = if value < 224 { 1 + value * 4 } else { 8000 + (value - 224) * 300 };
                self.output(stream, length, step);
            }
            (3, Some(peer)) => assert!(!peer.receive(1 + value % 16)),
            (4, Some(peer)) if peer.sends => {
                // Every byte says whose it is.
                let packet = vec![peer.number; 1 + value * 20];
                if send(peer.socket.as_raw_fd(), &packet, MsgFlags::MSG_DONTWAIT).is_ok() {
                    peer.typed += packet.len();
                }
            }
            (5, Some(peer)) if value % 2 == 0 => {
                shutdown(peer.socket.as_raw_fd(), Shutdown::Write).unwrap();
                peer.sends = false;
            }
            (5, Some(_)) => drop(self.peers.swap_remove(chosen)),
            (6, _) => drop(self.turn()),
            (7, _) => self.read(value * 40),
            _ => {}
        }
    }

    fn connect(&mut self) {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let address = BUNDLE.with(|bundle| UnixAddr::new(&bundle.join("attach")).unwrap());
        connect(socket.as_raw_fd(), &address).unwrap();
        assert_eq!(self.attach.accept(Duration::ZERO, &self.diagnostics), 1);
        let (_, ours, _) = self.attach.clients(&self.stdin).last().unwrap();
        setsockopt(&ours, sockopt::SndBuf, &SOCKET_BYTES).unwrap();
        let owed = VecDeque::new();
        self.peers.push(Peer { socket, number: self.next, sends: true, owed, typed: 0 });
        self.next += 1;
    }

    fn output(&mut self, stream: Stream, length: usize, salt: u8) {
        let bytes = &PATTERN[usize::from(salt)..][..length];
        self.attach.broadcast(stream, bytes, Duration::ZERO, &self.diagnostics);
        let tag = if stream == Stream::Stdout { 2 } else { 3 };
        for peer in &mut self.peers {
            peer.owed.extend(bytes.chunks(CHUNK_BYTES).map(|chunk| [&[tag], chunk].concat()));
        }
    }

    /// The container reads up to `count` bytes: no more of any client than that has sent.
    fn read(&mut self, count: usize) {
        let count = count.min(self.buffer.len());
        let length = nix::unistd::read(&self.input, &mut self.buffer[..count]).unwrap_or(0);
        // In pieces of one byte's repetition, which is what clients send.
        let mut rest = &self.buffer[..length];
        while let [byte, ..] = *rest {
            let alike = [byte; 64];
            let blocks = rest.chunks_exact(64).take_while(|block| **block == alike).count() * 64;
            let more = rest[blocks..].iter().take(64).take_while(|other| **other == byte).count();
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.number == byte) {
                assert!(peer.typed >= blocks + more, "bytes that nobody sent");
                peer.typed -= blocks + more;
            }
            rest = &rest[blocks + more..];
        }
    }

    /// One turn of the monitor's loop; returns how many descriptors had something to say.
    fn turn(&mut self) -> usize {
        let clients: Vec<_> = self.attach.clients(&self.stdin).collect();
        let mut fds: Vec<PollFd<'_>> =
            clients.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)).collect();
        if let Some((fd, events)) = self.stdin.poll() {
            fds.push(PollFd::new(fd, events));
        }
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        let seen: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap()).collect();
        let ids: Vec<ClientId> = clients.iter().map(|client| client.0).collect();
        for (id, events) in ids.iter().zip(&seen) {
            if !events.is_empty() {
                let (stdin, diagnostics) = (&mut self.stdin, &self.diagnostics);
                self.attach.on_client(*id, *events, stdin, Duration::ZERO, diagnostics);
            }
        }
        if let Some(events) = seen.get(ids.len()).filter(|events| !events.is_empty()) {
            self.stdin.on_ready(*events, &self.diagnostics);
        }
        seen.iter().filter(|events| !events.is_empty()).count()
    }

    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let came = (0..TURNS).any(|_| {
            self.turn();
            done(self)
        });
        assert!(came, "something does not arrive");
    }
}
