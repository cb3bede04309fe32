//! Attach clients over real sockets: what reaches them, what reaches the container, and what
//! they can do wrong.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;

use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send, shutdown,
    socket,
};
use rstest::rstest;

use super::*;
use crate::diagnostics::Level;
use crate::stdin::AtLastLeave;
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
        if seen.get(ids.len()).is_some_and(|events| !events.is_empty()) {
            self.stdin.on_ready(&self.diagnostics);
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

#[test]
fn the_socket_is_private_and_its_name_is_removed_at_the_end() {
    let mut world = World::new(ContainerStdin::none(), None);
    let path = world.dir.path().join("attach");
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o700);
    world.attach.unlink_socket(&world.diagnostics);
    assert!(!path.exists());
}

#[test]
fn a_name_that_is_a_successors_by_now_is_left_alone() {
    let mut world = World::new(ContainerStdin::none(), None);
    let place = AttachPlace::Bundle;
    let successor =
        Attach::create(&place, None, world.dir.path(), None, &world.diagnostics).unwrap();
    world.attach.unlink_socket(&world.diagnostics);
    Peer::connect(&world.dir.path().join("attach"));
    drop(successor);
}

fn socket_dir() -> (tempfile::TempDir, PathBuf, AttachPlace) {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    let sockets = dir.path().join("sockets");
    std::fs::create_dir(&sockets).unwrap();
    (dir, bundle, AttachPlace::SocketDir(sockets))
}

/// The reference cuts the symlink's name when its path has 107 bytes (known-defects D9).
#[rstest]
#[case::short(20)]
#[case::as_long_as_a_socket_address(107)]
#[case::longer(150)]
fn the_symlink_leads_to_the_socket_whatever_its_length(#[case] path_bytes: usize) {
    let (dir, bundle, place) = socket_dir();
    let sockets = dir.path().join("sockets");
    let used = sockets.as_os_str().len() + 1;
    let cuuid = "c".repeat(path_bytes.saturating_sub(used).max(1));
    let link = sockets.join(&cuuid);
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let cuuid = OsStr::new(&cuuid);
    let mut attach = Attach::create(&place, Some(cuuid), &bundle, None, &quiet()).unwrap();
    assert_eq!(std::fs::read_link(&link).unwrap(), bundle);
    assert!(bundle.join("attach").exists());
    attach.unlink_socket(&quiet());
    attach.unlink_symlink();
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&bundle).unwrap().count(), 0);
}

#[rstest]
#[case::no_cuuid(None, "An attach socket without --full-attach needs a container UUID (--cuuid)")]
#[case::directory_in_the_way(
    Some("taken"),
    "Failed to remove existing symlink for socket directory [SOCKETS]/taken Is a directory"
)]
#[case::socket_dir_missing(
    Some("missing/c"),
    "Failed to create symlink for notify socket No such file or directory"
)]
#[case::directory_in_place_of_the_socket(
    Some("c"),
    "Failed to remove existing socket: [SOCKETS]/c/attach Is a directory"
)]
fn refuses_a_socket_it_cannot_make(#[case] cuuid: Option<&str>, #[case] expected: &str) {
    let (dir, bundle, place) = socket_dir();
    let sockets = dir.path().join("sockets");
    std::fs::create_dir(sockets.join("taken")).unwrap();
    std::fs::create_dir(bundle.join("attach")).unwrap();
    let refused =
        Attach::create(&place, cuuid.map(OsStr::new), &bundle, None, &quiet()).err().unwrap();
    let expected = expected.replace("[SOCKETS]", sockets.to_str().unwrap());
    assert_eq!(String::from_utf8(refused.sentence()).unwrap(), expected);
    assert!(!sockets.join("c").is_symlink());
}

#[test]
fn refuses_a_missing_bundle() {
    let (_dir, bundle, _) = socket_dir();
    std::fs::remove_dir(&bundle).unwrap();
    let refused =
        Attach::create(&AttachPlace::Bundle, None, &bundle, None, &quiet()).err().unwrap();
    let expected = format!(
        "failed to open socket path parent dir {} No such file or directory",
        bundle.display()
    );
    assert_eq!(String::from_utf8(refused.sentence()).unwrap(), expected);
}

#[test]
fn every_chunk_is_one_packet_marked_with_its_stream() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    let output: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
    world.attach.broadcast(Stream::Stdout, &output, monotonic(), &quiet());
    world.attach.broadcast(Stream::Stderr, b"oops", monotonic(), &quiet());
    for chunk in output.chunks(8192) {
        assert_eq!(peer.try_receive().unwrap(), [&[2], chunk].concat());
    }
    assert_eq!(peer.try_receive().unwrap(), b"\x03oops");
    assert_eq!(peer.try_receive(), Err(Errno::EAGAIN));
}

#[test]
fn a_client_sees_only_what_comes_after_it() {
    let mut world = World::new(ContainerStdin::none(), None);
    world.broadcast(b"before");
    let peer = world.connect();
    world.broadcast(b"after");
    assert_eq!(peer.try_receive().unwrap(), b"\x02after");
}

/// known-defects A1: in the reference the second client starves with the first.
#[test]
fn a_stopped_client_holds_output_back_and_nothing_else() {
    let mut world = World::new(ContainerStdin::none(), None);
    let stopped = world.connect();
    let reader = world.connect();
    let mut sent = 0;
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 5000]);
        sent += 1;
        assert!(sent < 1000);
    }
    for _ in 0..sent {
        world.turn_until(|_| reader.try_receive().is_ok());
    }
    world.settle();
    assert!(world.attach.is_congested());
    drop(stopped);
    world.settle();
    assert!(!world.attach.is_congested() && !world.attach.has_queued());
    assert_eq!(world.client_count(), 1);
}

#[test]
fn a_slow_reader_gets_every_packet_as_it_was_sent() {
    let mut world = World::new(ContainerStdin::none(), Some(DEADLINE));
    let peer = world.connect();
    let mut sent = Vec::new();
    for n in 0..2000_usize {
        let length = 1 + n * 7919 % 20_000;
        let output = vec![n as u8; length];
        world.turn_until(|world| {
            if world.attach.is_congested() {
                let packet = peer.try_receive().unwrap();
                assert_eq!(packet, sent.remove(0));
            }
            !world.attach.is_congested()
        });
        world.broadcast(&output);
        sent.extend(output.chunks(8192).map(|chunk| [&[2], chunk].concat()));
    }
    for expected in sent {
        let mut packet = None;
        world.turn_until(|_| {
            packet = peer.try_receive().ok();
            packet.is_some()
        });
        assert_eq!(packet.unwrap(), expected);
    }
    assert!(!world.attach.has_queued());
    assert_eq!(world.attach.deadline(), None);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_its_input_still_arrives() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, Some(Duration::from_millis(50)));
    let peer = world.connect();
    peer.send(b"last words");
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 5000]);
    }
    assert!(world.attach.deadline().is_some());
    world.turn_until(|world| world.client_count() == 0);
    assert!(!world.attach.has_queued() && !world.attach.is_congested());
    assert_eq!(world.attach.deadline(), None);
    assert_eq!(read_input(&input).unwrap(), b"last words");
    assert_eq!(read_input(&input).unwrap(), b"");
}

#[test]
fn a_client_that_takes_a_little_is_not_cut_off() {
    let timeout = Duration::from_secs(100);
    let mut world = World::new(ContainerStdin::none(), Some(timeout));
    let peer = world.connect();
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 5000]);
    }
    let first_deadline = world.attach.deadline().unwrap();
    // One packet: far less than what makes poll call the socket writable.
    peer.try_receive().unwrap();
    world.attach.on_deadline(first_deadline, &quiet());
    assert_eq!(world.client_count(), 1);
    let second_deadline = world.attach.deadline().unwrap();
    assert_eq!(second_deadline, first_deadline + timeout);
    world.attach.on_deadline(second_deadline, &quiet());
    world.settle();
    assert_eq!(world.client_count(), 0);
}

#[test]
fn at_the_containers_end_output_is_not_held_back_and_memory_stays_bounded() {
    let mut world = World::new(ContainerStdin::none(), None);
    let stopped = world.connect();
    let now = monotonic();
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 65536]);
    }
    world.attach.begin_exit(now);
    assert!(!world.attach.is_congested());
    assert!(world.attach.deadline().unwrap() <= now + Duration::from_secs(1));
    for _ in 0..100 {
        world.broadcast(&[b'x'; 65536]);
    }
    assert!(!world.attach.has_queued());
    drop(stopped);
    world.settle();
}

#[test]
fn at_the_containers_end_a_reader_gets_the_rest() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    world.attach.begin_exit(monotonic());
    for _ in 0..8 {
        world.broadcast(&[b'x'; 65536]);
    }
    assert!(world.attach.has_queued());
    let mut received = 0;
    world.turn_until(|world| {
        while let Ok(packet) = peer.try_receive() {
            received += packet.len() - 1;
        }
        !world.attach.has_queued()
    });
    world.attach.close_clients(monotonic(), &quiet());
    while let Some(packet) = peer.try_receive().ok().filter(|packet| !packet.is_empty()) {
        received += packet.len() - 1;
    }
    assert_eq!(received, 8 * 65536);
}

/// A socket that is closed with unread input in it reports a reset to the other side ahead of
/// what that has not read yet.
#[test]
fn unread_input_at_the_end_does_not_spoil_the_clients_last_output() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    world.broadcast(b"bye");
    peer.send(b"too late");
    peer.send(b"much too late");
    let waiting = Peer::connect(&world.dir.path().join("attach"));
    world.attach.close_clients(monotonic(), &quiet());
    assert_eq!(peer.try_receive().unwrap(), b"\x02bye");
    assert_eq!(peer.try_receive().unwrap(), b"");
    assert_eq!(waiting.try_receive().unwrap(), b"");
    assert!(world.attach.listener(monotonic()).is_none());
}

/// The reference cuts packets at 32768 bytes (known-defects B10).
#[test]
fn packets_of_any_size_arrive_whole_and_in_order() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    let mut expected = Vec::new();
    let mut received = Vec::new();
    for (n, length) in [40_000, 1, 150_000, 32_768, 32_769, 20_000].into_iter().enumerate() {
        let packet = vec![b'a' + n as u8; length];
        peer.send(&packet);
        expected.extend(packet);
        let wanted = expected.len();
        world.turn_until(|_| {
            received.extend(read_input(&input).unwrap_or_default());
            received.len() >= wanted
        });
    }
    peer.finish_sending();
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"");
    assert!(received == expected);
}

#[test]
fn a_container_that_reads_nothing_holds_back_its_clients_without_spinning() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peers: Vec<Peer> = (0..3).map(|_| world.connect()).collect();
    for _ in 0..3 {
        for peer in &peers {
            peer.send(&[b'x'; 60_000]);
        }
    }
    world.settle();
    drop(peers);
    world.settle();
    let mut received = 0;
    world.turn_until(|_| match read_input(&input) {
        Some(bytes) if bytes.is_empty() => true,
        bytes => {
            received += bytes.unwrap_or_default().len();
            false
        }
    });
    assert_eq!(received, 9 * 60_000);
    assert_eq!(world.client_count(), 0);
}

/// known-defects D4: the reference holds the descriptor until the next output.
#[test]
fn a_client_that_left_is_released_at_once() {
    let mut world = World::new(ContainerStdin::none(), None);
    for _ in 0..20 {
        drop(world.connect());
        world.settle();
        assert_eq!(world.client_count(), 0);
    }
}

#[rstest]
#[case::half_close(false)]
#[case::empty_packet(true)]
fn a_client_that_only_ended_its_sending_still_gets_output(#[case] by_packet: bool) {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    peer.send(b"question");
    if by_packet {
        peer.send(b"")
    } else {
        peer.finish_sending()
    }
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"question");
    assert_eq!(read_input(&input).unwrap(), b"");
    world.broadcast(b"answer");
    assert_eq!(peer.try_receive().unwrap(), b"\x02answer");
    drop(peer);
    world.settle();
    assert_eq!(world.client_count(), 0);
}

/// The reset that the kernel reports for a client that closed with output unread comes ahead
/// of what the client sent.
#[test]
fn input_of_a_client_that_closed_with_output_unread_arrives() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    world.broadcast(b"unread");
    peer.send(b"one");
    peer.send(b"two");
    drop(peer);
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"onetwo");
    assert_eq!(read_input(&input).unwrap(), b"");
}

/// known-defects D1: the reference closes the container's input with the first that leaves.
#[test]
fn input_ends_when_the_last_client_leaves() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let first = world.connect();
    let second = world.connect();
    drop(first);
    world.settle();
    assert_eq!(read_input(&input), None);
    second.send(b"still here");
    second.finish_sending();
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"still here");
    assert_eq!(read_input(&input).unwrap(), b"");
    // Later input has nowhere to go, and holds nothing up.
    let late = world.connect();
    late.send(b"late");
    world.settle();
    drop(late);
    world.settle();
    assert_eq!(world.client_count(), 1);
}

#[test]
fn input_that_is_left_open_serves_later_clients() {
    let (input, stdin) = stdin_pipe(AtLastLeave::KeepAndSay);
    let mut world = World::new(stdin, None);
    drop(world.connect());
    world.settle();
    let later = world.connect();
    later.send(b"hello");
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"hello");
    assert_eq!(read_input(&input), None);
}

/// known-defects D6: the reference keeps the first packet for ever.
#[test]
fn input_for_a_container_without_any_is_read_and_dropped() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    for _ in 0..100 {
        peer.send(&[b'x'; 10_000]);
        world.settle();
    }
    drop(peer);
    world.settle();
    assert_eq!(world.client_count(), 0);
}

/// known-defects A2: the reference spins on the broken pipe.
#[test]
fn a_container_that_closed_its_input_costs_no_spinning() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    peer.send(&[b'x'; 100_000]);
    world.settle();
    drop(input);
    world.settle();
    peer.send(b"more");
    world.settle();
    world.broadcast(b"still served");
    assert_eq!(peer.try_receive().unwrap(), b"\x02still served");
}

#[test]
fn twenty_clients_see_the_same() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peers: Vec<Peer> = (0..20).map(|_| world.connect()).collect();
    world.broadcast(b"hello");
    world.broadcast(b"world");
    for peer in &peers {
        assert_eq!(peer.try_receive().unwrap(), b"\x02hello");
        assert_eq!(peer.try_receive().unwrap(), b"\x02world");
    }
}

#[test]
fn a_client_that_shut_its_receiving_side_is_still_read() {
    let (input, stdin) = stdin_pipe(AtLastLeave::KeepAndSay);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    shutdown(peer.0.as_raw_fd(), Shutdown::Read).unwrap();
    world.broadcast(b"unwanted");
    world.settle();
    peer.send(b"wanted");
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"wanted");
    drop(peer);
    world.settle();
    assert_eq!(world.client_count(), 0);
}
