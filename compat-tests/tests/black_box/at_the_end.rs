//! Clients around the container's end: those who come while it is being recorded, those who leave or
//! are cut off with output waiting for them, and those who pause without a limit.

use crate::facts::{
    A_WHILE, DEADLINE, alive, await_fact, await_file, await_settled, stat, status, within,
};
use crate::peer::Peer;
use crate::readers::{IN_TIME, Kind, ended_with_a_paused_client, received, survivor};
use crate::running::Running;
use crate::subject::Subject::Candidate;
use crate::sys;
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Stops a process, and waits until it stands still.
#[track_caller]
fn stop(pid: i32) {
    sys::kill(pid, libc::SIGSTOP).unwrap();
    await_fact("a stopped process", || stat(pid).is_some_and(|f| f[0] == "T").then_some(()));
}

/// Output up to the end of file, which no reset may take the place of.
#[track_caller]
fn output_before_the_end_of_file(client: &Peer) -> usize {
    let mut bytes = 0;
    loop {
        match client.read() {
            Ok(0) => return bytes,
            Ok(packet) => bytes += packet - 1,
            Err(errno) => panic!("{errno} after {bytes} bytes"),
        }
    }
}

/// Whoever has connected before the last output is read gets it, be the container gone already.
#[rstest]
#[case::run(Kind::Run, "")]
#[case::terminal(Kind::Run, "-t")]
#[case::exec(Kind::Exec, "")]
fn who_connects_before_the_last_output_is_read_gets_it(
    #[case] kind: Kind,
    #[case] terminal: &str,
    #[values(0, 10)] lines: usize,
) {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", &lines.to_string(), "100", "exit", "3"]);
    let options: Vec<&str> = terminal.split_whitespace().collect();
    let monitor = kind.monitor(&world).with(&options).with(&["--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    let container = await_file(&world.path("pidfile")).parse().unwrap();
    await_settled(monitor.pid());
    stop(monitor.pid());
    fs::write(go, "").unwrap();
    await_fact("the container's end", || (!alive(container)).then_some(()));
    let client = Peer::attach(&world.path("bundle/attach"));
    sys::kill(monitor.pid(), libc::SIGCONT).unwrap();
    let returns = if terminal.is_empty() { 0 } else { 1 };
    assert_eq!(output_before_the_end_of_file(&client), lines * (100 + returns));
    assert_eq!(monitor.code(), 3);
    assert_eq!(monitor.exit_file(), "3");
}

/// Whoever connects while the record still waits for the log sees the end of file with the others,
/// and delays nothing.
#[rstest]
fn who_connects_while_the_record_waits_for_the_log_sees_the_end() {
    let world = World::new(Candidate);
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    // Somebody has it open and reads nothing.
    let _reader = crate::peer::open_fifo(&fifo);
    let log = format!("k8s-file:{}", fifo.display());
    // More records than the FIFO holds; the rest of the lines fits into the container's pipe.
    world.container(&["numbered", "700", "100", "exit", "3"]);
    let monitor = world.create().without("-l").with(&["-l", &log, "--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    let container = monitor.container();
    await_fact("the container's end", || (!alive(container)).then_some(()));
    // All output has been read when it waits for the log alone.
    await_settled(monitor.pid());
    let client = Peer::attach(&world.path("bundle/attach"));
    assert_eq!(monitor.exit_file_within(Duration::ZERO), None, "it waits for the log");
    assert_eq!(output_before_the_end_of_file(&client), 0);
    assert_eq!(monitor.exit_file_within(IN_TIME).as_deref(), Some("3"));
    assert_eq!(monitor.code(), 3);
}

/// How long a pause may last is written nowhere: the process that serves the paused client sleeps
/// until somebody wakes it, without a time.
#[rstest]
fn nothing_measures_the_pause_of_a_client() {
    let world = World::new(Candidate);
    let (mut monitor, client) = ended_with_a_paused_client(&world, world.create());
    let pid = survivor(&world, &mut monitor);
    await_settled(pid);
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let words: Vec<&str> = call.split(' ').collect();
    assert_eq!(words[0], libc::SYS_ppoll.to_string(), "{call}");
    assert_eq!(words[3], "0x0", "it waits with a time: {call}");
    let switches = || status(pid, "voluntary_ctxt_switches");
    let before = switches();
    assert!(within(A_WHILE, || (switches() != before).then_some(())).is_none(), "it woke");
    assert_eq!(received(&client), [400_000, 0]);
}

/// How a client gets less than everything.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    ClosesInLife,
    ClosesAfterTheEnd,
    IsCutOff,
    ServerIsTold,
}

/// What a client did not get, whoever's doing that was, is said: all output less what it received.
#[rstest]
fn lost_bytes_are_counted(
    #[values(Loss::ClosesInLife, Loss::ClosesAfterTheEnd, Loss::IsCutOff, Loss::ServerIsTold)]
    loss: Loss,
) {
    let world = World::new(Candidate);
    let syslog = UnixDatagram::bind(world.path("syslog")).unwrap();
    syslog.set_read_timeout(Some(DEADLINE)).unwrap();
    let monitor = world.create().with(&["--syslog"]).with_syslog(&world.path("syslog"));
    let lives = matches!(loss, Loss::ClosesInLife | Loss::IsCutOff);
    // In life no more than the client's socket and queue hold: the rest would not be read for it.
    let all = if lives { 340_000 } else { 400_000 };
    let (pid, client) = if lives {
        let (go, end) = (world.text("go"), world.text("end"));
        world.container(&["wait-file", &go, "lines", "3400", "100", "wait-file", &end]);
        let seconds = if loss == Loss::IsCutOff { "1" } else { "60" };
        let monitor = monitor.env("CONMON_ATTACH_STALL_TIMEOUT", seconds).with(&["--sync"]);
        let monitor: Running = monitor.sync_pipe().start();
        monitor.container();
        let client = Peer::attach(&world.path("bundle/attach"));
        fs::write(go, "").unwrap();
        await_fact("all output", || (world.output("stdout").len() == all).then_some(()));
        (monitor.pid(), client)
    } else {
        let (mut monitor, client) = ended_with_a_paused_client(&world, monitor);
        (survivor(&world, &mut monitor), client)
    };
    let mut got = 0;
    let mut packet = [0; 8200];
    match loss {
        Loss::ClosesInLife | Loss::ClosesAfterTheEnd => {
            // What is in its socket counts as received, so it is.
            stop(pid);
            while let Some(length @ 1..) = client.try_receive(&mut packet) {
                got += length - 1;
            }
            drop(client);
            sys::kill(pid, libc::SIGCONT).unwrap();
        }
        Loss::IsCutOff | Loss::ServerIsTold => {
            if loss == Loss::ServerIsTold {
                sys::kill(pid, libc::SIGTERM).unwrap();
            }
            // Not before it is cut off: a client that takes something is not.
            let said = lost(&syslog);
            [got, _] = received(&client);
            assert_eq!(said + got, all);
            return;
        }
    }
    assert_eq!(lost(&syslog) + got, all);
}

/// The number of bytes that, as the system log says, did not reach a client.
#[track_caller]
fn lost(syslog: &UnixDatagram) -> usize {
    let mut buffer = [0; 1024];
    loop {
        let length = syslog.recv(&mut buffer).expect("the loss is said");
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some((before, _)) = text.split_once(" bytes ") {
            assert!(text.contains("did not reach it"), "{text}");
            return before.rsplit(' ').next().unwrap().parse().unwrap();
        }
    }
}
