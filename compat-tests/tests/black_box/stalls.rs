//! Peers that do not play along: they must not stop the monitor, nor make it spin.

use crate::facts::{
    A_WHILE, await_fact, await_file, await_settled, cpu_time, descriptors, patience, within,
};
use crate::peer::{Peer, Received};
use crate::running::Running;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::sys;
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// How much 20000 lines of 100 bytes are.
const TWO_MEGABYTES: usize = 2_000_000;

/// Checks whether the monitor goes on using the processor.
#[track_caller]
fn assert_spinning(monitor: &mut Running, expected: bool) {
    let pid = monitor.pid();
    let before = cpu_time(pid);
    let much = || (cpu_time(pid) - before > A_WHILE / 10).then_some(());
    assert_eq!(within(patience(expected), much).is_some(), expected);
    assert_eq!(monitor.ended_within(Duration::ZERO), None);
}

/// A1: the original's only thread blocks in the write to the client.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_client_that_never_reads_is_cut_off(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "20000", "100", "exit", "3"]);
    let monitor = world.create().sync_pipe().env("CONMON_ATTACH_STALL_TIMEOUT", "1").start();
    monitor.container();
    let _client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    if expected {
        assert_eq!(monitor.exit_file(), "3");
        assert_eq!(world.output("stdout").len(), TWO_MEGABYTES);
    } else {
        assert_eq!(monitor.exit_file_within(A_WHILE * 2), None);
        assert!(world.output("stdout").len() < TWO_MEGABYTES);
    }
}

/// A1: while it waits for the client, everything else goes on.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn signals_and_exit_are_served_beside_a_stopped_client(
    #[case] subject: Subject,
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "1000000", "100"]);
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    let _client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    await_settled(container);
    sys::kill(container, libc::SIGKILL).unwrap();
    let exit = monitor.exit_file_within(patience(expected));
    assert_eq!(exit.as_deref(), expected.then_some("137"));
}

/// A reader that is merely slow loses nothing: it is waited for, as a pipe would.
#[rstest]
fn a_client_that_pauses_gets_everything(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "20000", "100", "exit", "3"]);
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    await_settled(container);
    assert_eq!(monitor.exit_file_within(Duration::ZERO), None, "the container is held up");
    let mut total = 0;
    while let Received::Packet(packet) = client.receive() {
        assert!(packet[0] == 2 && packet.len() <= 8193);
        total += packet.len() - 1;
    }
    assert_eq!(total, TWO_MEGABYTES);
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(world.output("stdout").len(), TWO_MEGABYTES);
}

/// A2: the original keeps the data and finds the pipe in error for ever.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn input_for_a_closed_stdin_makes_it_spin(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["close", "0", "say", "closed", "sleep-forever"]);
    let mut monitor = world.create().with(&["-i", "--sync"]).sync_pipe().start();
    monitor.container();
    monitor.await_log("closed");
    let client = Peer::attach(&world.path("bundle/attach"));
    client.send(b"nobody reads this\n");
    assert_spinning(&mut monitor, expected);
}

/// A3: the original's buffer is full, so it reads nothing from a FIFO that is ready.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn long_control_lines_make_it_spin(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["on-winch", "say", "ready", "sleep-forever"]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    monitor.await_log("ready");
    world.write_fifo("ctl", &[b'A'; 150]);
    await_settled(monitor.pid());
    world.write_fifo("ctl", &[b'A'; 100]);
    assert_spinning(&mut monitor, expected);
    world.write_fifo("ctl", b"\n1 10 20\n");
    let resized = within(patience(!expected), || {
        world.output("stdout").contains("winch 10 20").then_some(())
    });
    assert_eq!(resized.is_none(), expected);
}

/// A6: the original is deaf until the runtime has ended. Output stays for later in both: until
/// there is a container, nobody knows whose words they are.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn clients_are_accepted_while_the_runtime_creates(
    #[case] subject: Subject,
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let end = world.text("end");
    world.script(
        &["say", "early", "exit", "3"],
        &[&["touch", &world.text("creating")], &["wait-file", &end], &["container"], &["pid-file"]],
    );
    let monitor = world.create().sync_pipe().start();
    await_file(&world.path("creating"));
    await_settled(monitor.pid());
    let sockets = || {
        let fds = descriptors(monitor.pid());
        fds.iter().filter(|(_, target)| target.starts_with("socket:")).count()
    };
    let before = sockets();
    let client = Peer::attach(&world.path("bundle/attach"));
    let accepted = within(patience(expected), || (sockets() > before).then_some(()));
    assert_eq!(accepted.is_some(), expected);
    fs::write(end, "").unwrap();
    assert_eq!(client.receive(), Received::Packet(b"\x02early\n".into()));
    assert_eq!(monitor.exit_file(), "3");
}

/// What the monitor holds back while the runtime is at work is for the clients, too.
#[rstest]
fn a_flood_of_stderr_while_the_runtime_ends_reaches_the_client(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    let (begin, end) = (world.text("begin"), world.text("end"));
    world.script(
        &["print-bytes-err", "2000000", "x", "exit", "3"],
        &[&["wait-file", &begin], &["container"], &["pid-file"], &["wait-file", &end]],
    );
    let monitor = world.create().sync_pipe().start();
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(begin, "").unwrap();
    let container = await_file(&world.path("pidfile")).parse().unwrap();
    await_settled(container);
    fs::write(end, "").unwrap();
    // By now the runtime's end has been answered, while the client still takes nothing.
    assert_eq!(monitor.container(), container);
    let mut total = 0;
    while let Received::Packet(packet) = client.receive() {
        assert_eq!(packet[0], 3);
        total += packet.len() - 1;
    }
    assert_eq!(total, TWO_MEGABYTES);
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(world.output("stderr").len(), TWO_MEGABYTES);
}

/// A8: without a terminal nobody reads what the original passes on to its own FIFO.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn window_sizes_without_a_terminal_do_not_pile_up(
    #[case] subject: Subject,
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["say", "ready", "wait-file", &go, "exit", "3"]);
    let monitor = world.create().sync_pipe().start();
    monitor.await_log("ready");
    let mut ctl = fs::File::options()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(world.path("bundle/ctl"))
        .unwrap();
    let mut sent = 0;
    let enough = within(patience(expected), || {
        while ctl.write(b"1 100 200\n").is_ok() {
            sent += 1;
        }
        (sent > 20000).then_some(())
    });
    assert_eq!(enough.is_some(), expected, "{sent} messages");
    fs::write(go, "").unwrap();
    assert_eq!(monitor.exit_file_within(patience(expected)).is_some(), expected);
}

/// An idle monitor sleeps: after the last events of the creation nothing wakes it.
#[rstest]
fn an_idle_monitor_never_wakes(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["say", "ready", "sleep-forever"]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    monitor.container();
    monitor.await_log("ready");
    let switches = |pid| crate::facts::status(pid, "voluntary_ctxt_switches");
    await_fact("a monitor that nothing wakes", || {
        let before = switches(monitor.pid());
        assert_eq!(monitor.ended_within(A_WHILE), None);
        (switches(monitor.pid()) == before).then_some(())
    });
}

/// D1 and the like belong to attach; this is about descriptors that stay.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn clients_that_left_are_forgotten(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let ready = world.text("ready");
    world.container(&["touch", &ready, "sleep-forever"]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    monitor.container();
    await_file(&world.path("ready"));
    let count = |monitor: &Running| descriptors(monitor.pid()).len();
    await_settled(monitor.pid());
    let before = count(&monitor);
    for _ in 0..20 {
        drop(Peer::attach(&world.path("bundle/attach")));
        await_settled(monitor.pid());
    }
    let back = within(patience(expected), || (count(&monitor) <= before + 2).then_some(()));
    assert_eq!(back.is_some(), expected);
    assert_eq!(monitor.ended_within(Duration::ZERO), None);
}

/// D4: a client that sent its byte and left costs nothing, although the container reads nothing of
/// it yet; and its byte is kept.
#[rstest]
#[case::closed_after_the_last(&["-i"])]
#[case::left_open(&["-i", "--leave-stdin-open"])]
fn clients_that_sent_a_byte_and_left_cost_nothing_while_the_input_is_full(
    #[case] options: &[&str],
) {
    const FILLS: usize = 96_000;
    const CLIENTS: usize = 300;
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "echo-until-eof"]);
    let mut monitor = world.create().with(options).with(&["--sync"]).sync_pipe().start();
    monitor.container();
    let first = Peer::attach(&world.path("bundle/attach"));
    // More than the pipe holds; the rest waits in the monitor.
    for _ in 0..3 {
        first.send(&[b'x'; FILLS / 3]);
    }
    await_settled(monitor.pid());
    let count = || descriptors(monitor.pid()).len();
    let before = count();
    for _ in 0..CLIENTS {
        let client = Peer::attach(&world.path("bundle/attach"));
        client.send(b"y");
    }
    await_fact("descriptors given back", || (count() <= before).then_some(()));
    fs::write(go, "").unwrap();
    await_fact("every byte", || {
        let all = world.output("stdout");
        let ys = all.bytes().filter(|byte| *byte == b'y').count();
        (ys == CLIENTS && all.trim_end().len() == FILLS + CLIENTS).then_some(())
    });
    assert_eq!(monitor.ended_within(Duration::ZERO), None);
}
