//! The attach socket: output to clients, input from them, and what is left of them.

use crate::facts::{A_WHILE, await_fact, await_settled, patience, within};
use crate::peer::{Peer, Received};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{CID, World};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Everything a client gets, put together by stream.
fn streams(client: &Peer) -> (String, String) {
    let mut streams = [Vec::new(), Vec::new()];
    while let Received::Packet(packet) = client.receive() {
        streams[usize::from(packet[0] - 2)].extend_from_slice(&packet[1..]);
    }
    let [stdout, stderr] = streams.map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, stderr)
}

#[rstest]
fn clients_get_both_streams(
    #[values(Reference, Candidate)] subject: Subject,
    #[values(1, 20)] count: usize,
) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["wait-file", &go, "say", "out", "say-err", "err", "lines", "300", "100"]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    let clients: Vec<Peer> =
        (0..count).map(|_| Peer::attach(&world.path("bundle/attach"))).collect();
    if subject == Reference {
        // It takes one client a turn and may find output first; ours has taken all by then.
        await_settled(monitor.pid());
    }
    fs::write(go, "").unwrap();
    for client in &clients {
        let (stdout, stderr) = streams(client);
        assert_eq!((stdout.len(), stderr.as_str()), (4 + 30000, "err\n"));
        assert!(stdout.starts_with("out\n0123456789abcdef0123"));
    }
    assert_eq!(monitor.exit_file(), "0");
}

/// ATT-11: a connection in the backlog counts as attached.
#[rstest]
fn a_client_that_comes_during_creation_misses_nothing(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    let go = world.text("go");
    let wait: &[&str] = &["wait-file", &go];
    world.script(&["say", "first words", "exit", "0"], &[wait, &["container"], &["pid-file"]]);
    let _monitor = world.create().sync_pipe().start();
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    assert_eq!(streams(&client).0, "first words\n");
}

#[rstest]
fn the_end_of_input_is_passed_on_and_output_still_comes(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("half-close", "empty packet")] how: &str,
) {
    let world = World::new(subject);
    world.container(&["read-line", "echo-until-eof", "say", "done", "exit", "3"]);
    let monitor = world.create().with(&["-i"]).sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    client.send(b"hello\nmore\n");
    if how == "half-close" {
        client.finish_sending();
    } else {
        client.send(b"");
    }
    assert_eq!(streams(&client).0, "got hello\nmore\ndone\n");
    assert_eq!(monitor.exit_file(), "3");
}

#[rstest]
fn large_input_arrives_complete_and_in_order(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["wait-file", &go, "count-stdin"]);
    let monitor = world.create().with(&["-i"]).sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    // More than pipe and socket hold: the sender waits until the container reads.
    let packets = 40_u8;
    let mut sum = 0_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..packets {
                client.send(&[number; 20000]);
            }
            client.finish_sending();
        });
        await_settled(monitor.pid());
        fs::write(&go, "").unwrap();
        for byte in (0..packets).flat_map(|number| [number; 20000]) {
            sum = (sum * 31 + u64::from(byte)) % 1_000_003;
        }
        assert_eq!(streams(&client).0, format!("read 800000 bytes sum {sum}\n"));
    });
}

/// B10: the original reads 32768 bytes of a packet and drops the rest.
#[rstest]
#[case::reference(Reference, "read 32768 bytes")]
#[case::candidate(Candidate, "read 40000 bytes")]
fn a_long_packet(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["count-stdin"]);
    let monitor = world.create().with(&["-i"]).sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    client.send(&[b'x'; 40000]);
    client.finish_sending();
    let (stdout, _) = streams(&client);
    assert!(stdout.starts_with(expected), "{stdout}");
}

/// D1: the original closes the container's input for all.
#[rstest]
#[case::reference(Reference, "read 0 bytes")]
#[case::candidate(Candidate, "read 4 bytes")]
fn when_one_of_two_clients_leaves(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["count-stdin"]);
    let monitor = world.create().with(&["-i"]).sync_pipe().start();
    monitor.container();
    let staying = Peer::attach(&world.path("bundle/attach"));
    let leaving = Peer::attach(&world.path("bundle/attach"));
    await_settled(monitor.pid());
    drop(leaving);
    if monitor.exit_file_within(A_WHILE / 3).is_none() {
        staying.send(b"late");
        staying.finish_sending();
    }
    assert_eq!(monitor.exit_file(), "0");
    let output = world.output("stdout");
    assert!(output.starts_with(expected), "{output}");
}

#[rstest]
fn input_left_open_serves_the_next_client(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["read-line", "read-line", "exit", "3"]);
    let monitor = world.create().with(&["-i", "--leave-stdin-open"]).sync_pipe().start();
    monitor.container();
    let first = Peer::attach(&world.path("bundle/attach"));
    first.send(b"one\n");
    monitor.await_log("got one");
    drop(first);
    await_settled(monitor.pid());
    let second = Peer::attach(&world.path("bundle/attach"));
    second.send(b"two\n");
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(world.output("stdout"), "got one\ngot two\n");
}

/// D2: the original closes its end of the terminal for good.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_terminal_serves_the_next_client(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["read-line", "read-line", "exit", "3"]);
    let monitor = world.create().with(&["-t", "-i"]).sync_pipe().start();
    monitor.container();
    let first = Peer::attach(&world.path("bundle/attach"));
    first.send(b"one\n");
    monitor.await_log("got one");
    drop(first);
    await_settled(monitor.pid());
    let second = Peer::attach(&world.path("bundle/attach"));
    second.send(b"two\n");
    assert_eq!(monitor.exit_file_within(patience(expected)).as_deref(), expected.then_some("3"));
}

#[rstest]
fn files_in_the_bundle_have_their_types_and_modes(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    for leftover in ["attach", "ctl", "winsz"] {
        fs::write(world.path("bundle").join(leftover), "of a killed monitor").unwrap();
    }
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    let metadata = |name| fs::metadata(world.path("bundle").join(name)).unwrap();
    assert!(metadata("attach").file_type().is_socket());
    assert_eq!(metadata("attach").mode() & 0o7777, 0o700);
    for name in ["ctl", "winsz"] {
        assert!(metadata(name).file_type().is_fifo());
        assert_eq!(metadata(name).mode() & 0o7777, 0o640);
    }
}

/// The address is always short, whatever the bundle's path is.
#[rstest]
fn a_long_bundle_path_is_no_obstacle(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "5"]);
    let bundle = world.path(&format!("{}/{}", "a".repeat(120), "b".repeat(120)));
    fs::create_dir_all(&bundle).unwrap();
    let monitor = world.create().without("-b").with(&["-b", bundle.to_str().unwrap()]);
    let monitor = monitor.sync_pipe().start();
    monitor.container();
    assert_eq!(monitor.exit_file(), "5");
}

/// D9: the original makes a shorter link than it removes.
#[test]
fn a_link_of_107_bytes_is_removed() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "exit", "0"]);
    let sockets = world.text("sockets");
    let padding = 107 - CID.len() - 1 - sockets.len() - 1;
    let directory = world.path("sockets").join("d".repeat(padding));
    fs::create_dir(&directory).unwrap();
    let monitor = world.create().without_flag("--full-attach").with(&["--sync"]);
    let mut monitor =
        monitor.with(&["--socket-dir-path", directory.to_str().unwrap()]).sync_pipe().start();
    monitor.container();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    fs::write(go, "").unwrap();
    monitor.code();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

/// D11: the original wants to remove the directory of all sockets.
#[rstest]
fn a_session_without_a_name_for_its_socket_is_refused(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let sockets = world.text("sockets");
    let monitor = world.exec().without("-u").without_flag("--api-version");
    let monitor = monitor.without_flag("--full-attach").with(&["--socket-dir-path", &sockets]);
    let mut monitor = monitor.with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.code(), 1);
    assert!(world.path("sockets").is_dir());
    assert!(!world.path("pidfile").exists());
}

/// What a client types is not for it when the container has no input.
#[rstest]
fn input_without_stdin_goes_nowhere(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["count-stdin", "wait-file", &go, "say", "still here"]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    client.send(b"for nobody\n");
    await_settled(monitor.pid());
    fs::write(go, "").unwrap();
    let (stdout, _) = streams(&client);
    assert!(stdout.ends_with("still here\n"), "{stdout}");
    assert!(world.output("stdout").starts_with("read 0 bytes"));
}

/// D6: the original reads one packet and then never again.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_talkative_client_without_stdin_is_read(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["sleep-forever"]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    let sent = std::thread::spawn(move || {
        for _ in 0..100 {
            client.send(&[b'x'; 20000]);
        }
        client.finish_sending();
    });
    let done = within(patience(expected), || sent.is_finished().then_some(()));
    assert_eq!(done.is_some(), expected);
    // Ends the thread that still sends.
    crate::sys::kill(monitor.pid(), libc::SIGKILL).unwrap();
    await_fact("the sender's end", || sent.is_finished().then_some(()));
}
