//! From the container to its clients.

use super::*;

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
    // A process that another test is starting may hold the connection for a moment.
    world.turn_until(|world| world.client_count() == 1);
    assert!(!world.attach.is_congested() && !world.attach.has_queued());
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
    // The queue's memory is given back a little later, and then there is nothing to wake for.
    let release = world.attach.deadline().unwrap();
    assert!(release <= monotonic() + Duration::from_secs(1));
    world.attach.on_deadline(release, &quiet());
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
    assert_input_ends(&input);
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

/// However much the pipes held, and however late it is read.
#[test]
fn at_the_containers_end_nobody_is_cut_for_size_or_time() {
    let mut world = World::new(ContainerStdin::none(), Some(Duration::from_millis(1)));
    let paused = world.connect();
    let done = world.connect();
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 65536]);
        while done.try_receive().is_ok() {}
    }
    world.attach.begin_exit();
    assert_eq!(world.attach.deadline(), None);
    let mut expected = 0;
    for _ in 0..64 {
        world.broadcast(&[b'y'; 65536]);
        expected += 65536;
        world.turn_until(|_| done.try_receive() == Err(Errno::EAGAIN));
    }
    world.attach.end_output(monotonic(), &quiet());
    assert_eq!(world.client_count(), 1, "who has everything is closed, who has not is not");
    assert_eq!(done.try_receive().unwrap(), b"");
    std::thread::sleep(Duration::from_millis(50));
    world.attach.on_deadline(monotonic(), &quiet());
    assert!(world.attach.has_queued());
    let mut received = 0;
    world.turn_until(|_| {
        while let Ok(packet) = paused.try_receive() {
            if packet.is_empty() {
                return true;
            }
            received += packet.iter().filter(|byte| **byte == b'y').count();
        }
        false
    });
    assert_eq!(received, expected);
    assert_eq!(world.client_count(), 0);
    assert!(!world.attach.has_queued());
}

/// One that sends without reading would else wait for ever, and so would we.
#[test]
fn after_the_containers_end_input_is_taken_and_dropped() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 65536]);
    }
    world.attach.begin_exit();
    world.attach.end_output(monotonic(), &quiet());
    for _ in 0..1000 {
        peer.send(&[b'i'; 10_000]);
        world.turn(0);
    }
    peer.finish_sending();
    world.settle();
    world.turn_until(|_| {
        while let Ok(packet) = peer.try_receive() {
            if packet.is_empty() {
                return true;
            }
        }
        false
    });
}

#[test]
fn memory_goes_back_while_the_last_output_is_read() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    world.attach.begin_exit();
    for _ in 0..32 {
        world.broadcast(&[b'x'; 65536]);
    }
    world.attach.end_output(monotonic(), &quiet());
    world.turn_until(|world| {
        let _ = peer.try_receive();
        assert!(world.attach.clients.iter().all(|client| !client.has_spare_memory()));
        world.client_count() == 0
    });
}

#[test]
fn a_client_that_is_cut_off_lost_what_was_queued() {
    let mut world = World::new(ContainerStdin::none(), None);
    let peer = world.connect();
    let mut sent = 0;
    while !world.attach.is_congested() {
        world.broadcast(&[b'x'; 20_000]);
        sent += 20_000;
    }
    let lost = world.attach.clients[0].cut_off();
    assert!(lost > 0 && !world.attach.has_queued());
    let mut received = 0;
    while let Some(packet) = peer.try_receive().ok().filter(|packet| !packet.is_empty()) {
        received += packet.len() - 1;
    }
    assert_eq!(received + lost, sent);
}

/// The kernel says for good that a packet cannot be sent: no output any more, but input still.
#[test]
fn a_client_whose_output_fails_reads_its_end_and_is_still_read() {
    let (input, stdin) = stdin_pipe(AtLastLeave::Close);
    let mut world = World::new(stdin, None);
    let peer = world.connect();
    let socket = world.attach.clients[0].fd();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SndBuf, &1).unwrap();
    world.broadcast(&[b'x'; 8000]);
    assert_eq!(peer.try_receive(), Ok(Vec::new()));
    peer.send(b"typed");
    world.settle();
    assert_eq!(read_input(&input).unwrap(), b"typed");
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
    world.attach.end_output(monotonic(), &quiet());
    assert_eq!(peer.try_receive().unwrap(), b"\x02bye");
    assert_eq!(peer.try_receive().unwrap(), b"");
    assert_eq!(waiting.try_receive().unwrap(), b"");
    assert!(world.attach.listener(monotonic()).is_none());
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
