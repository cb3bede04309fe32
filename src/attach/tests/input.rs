//! From the clients to the container.

use rstest::rstest;

use super::*;

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
    assert_input_ends(&input);
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

/// Each sends a byte and leaves, while the container reads nothing.
#[test]
fn clients_that_left_hold_no_descriptors() {
    let (input, stdin) = stdin_pipe(AtLastLeave::KeepAndSay);
    let mut world = World::new(stdin, None);
    let first = world.connect();
    first.send(&[b'x'; 100_000]);
    world.settle();
    for _ in 0..300 {
        world.connect().send(b"y");
        world.settle();
    }
    assert_eq!(world.client_count(), 1, "only the one that is there still");
    let mut received = Vec::new();
    world.turn_until(|_| {
        received.extend(read_input(&input).unwrap_or_default());
        received.len() >= 100_300
    });
    assert!(received.ends_with(&[b'y'; 300]));
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
    assert_input_ends(&input);
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
    assert_input_ends(&input);
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
    assert_input_ends(&input);
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
