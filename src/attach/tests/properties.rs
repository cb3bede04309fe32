//! Clients and queues against naive oracles: any order of output, reading, sending and leaving.

use proptest::prelude::*;
use proptest::sample::select;
use std::collections::VecDeque;

use super::*;
use crate::attach::queue::PacketQueue;
use crate::stream::CHUNK_BYTES;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
    use nix::sys::socket::socketpair;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

#[derive(Clone, Debug)]
enum QueueStep {
    Push(u8, usize),
    Send,
    Receive(usize),
    Release,
}

fn queue_step() -> impl Strategy<Value = QueueStep> {
    let length = prop_oneof![0..20_usize, 8180..8200_usize, 0..40_000_usize];
    prop_oneof![
        5 => (any::<u8>(), length).prop_map(|(byte, length)| QueueStep::Push(byte, length)),
        2 => Just(QueueStep::Send),
        2 => (0..40_usize).prop_map(QueueStep::Receive),
        1 => Just(QueueStep::Release),
    ]
}

/// Takes up to `count` packets off the socket; each must be the next one expected.
#[track_caller]
fn take(socket: &OwnedFd, count: usize, sent: &mut VecDeque<Vec<u8>>) {
    for _ in 0..count {
        let mut packet = vec![0; 50_000];
        let Ok(length) = recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) else {
            return;
        };
        assert!(Some(&packet[..length]) == sent.pop_front().as_deref(), "another packet");
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_queue_keeps_packets_whole_and_in_order(steps in prop::collection::vec(queue_step(), 0..60)) {
        let (ours, theirs) = socket_pair();
        let mut queue = PacketQueue::default();
        let (mut waiting, mut sent) = (VecDeque::new(), VecDeque::new());
        for step in steps {
            match step {
                QueueStep::Push(byte, length) => {
                    let packet = [vec![2], vec![byte; length]].concat();
                    queue.push([&packet[..1], &packet[1..]]).unwrap();
                    waiting.push_back(packet);
                }
                QueueStep::Send => {
                    if let Ok(count) = queue.send(ours.as_fd()) {
                        sent.extend(waiting.drain(..count));
                    }
                }
                QueueStep::Receive(count) => take(&theirs, count, &mut sent),
                QueueStep::Release => queue.release_memory(),
            }
            prop_assert_eq!(queue.is_empty(), waiting.is_empty());
            // The length of each packet is kept beside it.
            let bytes: usize = waiting.iter().map(|packet| packet.len() + 2).sum();
            prop_assert_eq!(queue.len_bytes(), bytes);
        }
        take(&theirs, usize::MAX, &mut sent);
        while !queue.is_empty() {
            let count = queue.send(ours.as_fd()).unwrap();
            sent.extend(waiting.drain(..count));
            take(&theirs, usize::MAX, &mut sent);
        }
        prop_assert!(waiting.is_empty() && sent.is_empty());
        queue.release_memory();
        prop_assert!(!queue.holds_spare_memory());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    /// Container output, as one read returned it.
    Output(Stream, usize),
    /// A client takes so many packets.
    Receive(usize, usize),
    /// A client sends a packet.
    Send(usize, usize),
    FinishSending(usize),
    Leave(usize),
    Turn,
    /// The container takes so many bytes.
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = select(vec![Stream::Stdout, Stream::Stderr]);
    prop_oneof![
        2 => Just(Step::Connect),
        5 => (stream, 1..70_000_usize).prop_map(|(stream, length)| Step::Output(stream, length)),
        4 => (any::<usize>(), 1..20_usize).prop_map(|(client, count)| Step::Receive(client, count)),
        3 => (any::<usize>(), 1..40_000_usize).prop_map(|(client, length)| Step::Send(client, length)),
        1 => any::<usize>().prop_map(Step::FinishSending),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => Just(Step::Turn),
        2 => (1..100_000_usize).prop_map(Step::Read),
    ]
}

struct Typist {
    peer: Peer,
    sends: bool,
    /// What it is still to receive.
    owed: VecDeque<Vec<u8>>,
    /// What it has sent that the container has not read; the first bytes of the first packet
    /// may be read already.
    typed: VecDeque<u8>,
}

impl Typist {
    /// Takes up to `count` packets; each must be the next one owed.
    #[track_caller]
    fn receive(&mut self, count: usize) -> usize {
        for taken in 0..count {
            let Ok(packet) = self.peer.try_receive() else { return taken };
            assert!(Some(packet) == self.owed.pop_front(), "another packet");
        }
        count
    }
}

/// Container output that differs everywhere, so that a byte out of place shows.
fn output(from: &mut u64, length: usize) -> Vec<u8> {
    let start = *from;
    *from += length as u64;
    (start..*from).map(|byte| (byte % 251) as u8).collect()
}

proptest! {
    #![proptest_config(config(30))]

    /// Each client gets every packet since it came, whatever the others do; and the container
    /// reads each client's bytes in their order.
    #[test]
    fn every_client_gets_and_gives_all_of_it(steps in prop::collection::vec(step(), 0..80)) {
        let (input, stdin) = stdin_pipe(AtLastLeave::Keep);
        let mut world = World::new(stdin, None);
        let mut typists: Vec<Option<Typist>> = Vec::new();
        let mut from = 0;
        for step in steps {
            let present: Vec<usize> = (0..typists.len()).filter(|at| typists[*at].is_some()).collect();
            let chosen = |client: usize| present.get(client % present.len().max(1)).copied();
            match step {
                Step::Connect if present.len() < 6 && typists.len() < 250 => {
                    let peer = world.connect();
                    let typist = Typist { peer, sends: true, owed: VecDeque::new(), typed: VecDeque::new() };
                    typists.push(Some(typist));
                }
                Step::Output(stream, length) if !world.attach.is_congested() => {
                    let bytes = output(&mut from, length);
                    world.attach.broadcast(stream, &bytes, monotonic(), &world.diagnostics);
                    let tag = if stream == Stream::Stdout { 2 } else { 3 };
                    for typist in typists.iter_mut().flatten() {
                        let packets = bytes.chunks(CHUNK_BYTES).map(|chunk| [&[tag], chunk].concat());
                        typist.owed.extend(packets);
                    }
                }
                Step::Receive(client, count) => {
                    if let Some(typist) = chosen(client).and_then(|at| typists[at].as_mut()) {
                        typist.receive(count);
                    }
                }
                Step::Send(client, length) => {
                    let Some(at) = chosen(client) else { continue };
                    let Some(typist) = typists[at].as_mut().filter(|typist| typist.sends) else { continue };
                    // Every byte says whose it is.
                    let packet = vec![at as u8; length];
                    if send(typist.peer.0.as_raw_fd(), &packet, MsgFlags::MSG_DONTWAIT).is_ok() {
                        typist.typed.extend(packet);
                    }
                }
                Step::FinishSending(client) => {
                    if let Some(typist) = chosen(client).and_then(|at| typists[at].as_mut()) {
                        typist.peer.finish_sending();
                        typist.sends = false;
                    }
                }
                Step::Leave(client) => {
                    if let Some(at) = chosen(client) {
                        typists[at] = None;
                    }
                }
                Step::Turn => {
                    world.turn(0);
                }
                Step::Read(count) => read_some(&input, count, &mut typists),
                Step::Connect | Step::Output(..) => {}
            }
        }
        // In the end everybody takes everything.
        let end = monotonic() + DEADLINE;
        while typists.iter().flatten().any(|typist| !typist.owed.is_empty() || !typist.typed.is_empty()) {
            prop_assert!(monotonic() < end, "something does not arrive");
            typists.iter_mut().flatten().for_each(|typist| { typist.receive(usize::MAX); });
            read_some(&input, usize::MAX, &mut typists);
            world.turn(0);
        }
    }
}

/// The container reads up to `count` bytes; each must be the next one its sender typed. What a
/// client that has left typed may arrive or not.
#[track_caller]
fn read_some(input: &OwnedFd, count: usize, typists: &mut [Option<Typist>]) {
    let mut bytes = vec![0; count.min(100_000)];
    let Ok(length) = nix::unistd::read(input, &mut bytes) else { return };
    for byte in &bytes[..length] {
        if let Some(typist) = typists[usize::from(*byte)].as_mut() {
            assert_eq!(typist.typed.pop_front(), Some(*byte));
        }
    }
}
