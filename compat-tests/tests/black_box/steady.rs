//! A container that prints a line now and then, until something else happens: a monitor may then
//! wait in another way, and must notice everything all the same.

use crate::facts::{await_fact, await_file, cpu_time, descriptors};
use crate::peer::{Peer, Received};
use crate::running::Running;
use crate::subject::Subject::Candidate;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use std::fs;
use std::time::Duration;

/// Whether the kernel keeps the set of descriptors that the monitor waits for.
fn is_kept(pid: i32) -> bool {
    descriptors(pid).iter().any(|(_, target)| target.contains("eventpoll"))
}

fn await_kept(pid: i32) {
    await_fact("the kept set", || is_kept(pid).then_some(()));
}

/// A monitor whose container prints a line of 100 bytes every 5 ms, when it has become steady.
fn steady(world: &World) -> (Running<'_>, i32) {
    world.container(&["trickle", "20000", "100", "5000", "exit", "7"]);
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    await_kept(monitor.pid());
    (monitor, container)
}

/// Waits until `client` has got so many lines, of which one packet may have several.
fn await_lines(client: &Peer, count: usize) {
    let mut lines = 0;
    while lines < count {
        match client.receive() {
            Received::Packet(bytes) => lines += bytes.iter().filter(|byte| **byte == b'\n').count(),
            Received::End => panic!("the output ended after {lines} lines"),
        }
    }
}

#[test]
fn a_client_that_comes_is_served_and_one_that_goes_is_forgotten() {
    let world = World::new(Candidate);
    let (monitor, container) = steady(&world);
    let before = descriptors(monitor.pid());
    for _ in 0..3 {
        let client = Peer::attach(&world.path("bundle/attach"));
        // More lines than it takes to become steady again.
        await_lines(&client, 50);
        await_kept(monitor.pid());
        drop(client);
        await_fact("the client forgotten", || {
            (is_kept(monitor.pid()) && descriptors(monitor.pid()).len() == before.len())
                .then_some(())
        });
    }
    kill(Pid::from_raw(container), Signal::SIGKILL).unwrap();
    assert_eq!(monitor.exit_file(), "137");
}

#[test]
fn the_control_fifo_is_obeyed() {
    let world = World::new(Candidate);
    let (monitor, _) = steady(&world);
    for name in ["old-1", "old-2"] {
        let log = world.path("log");
        fs::rename(&log, world.path(name)).unwrap();
        world.write_fifo("ctl", b"2 0 0\n");
        await_fact("lines in the new log", || {
            fs::read(&log).is_ok_and(|text| text.len() > 5000).then_some(())
        });
        await_kept(monitor.pid());
    }
    kill(Pid::from_raw(monitor.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(monitor.exit_file(), "143");
}

/// Its queue fills while lines come one by one; it gets the rest when it reads, though no more come.
#[test]
fn a_client_that_stops_reading_loses_nothing() {
    let world = World::new(Candidate);
    let [go, done, end] = ["go", "done", "end"].map(|name| world.text(name));
    let lines = ["trickle", "1500", "100", "1000"];
    let waits = ["touch", &done, "wait-file", &end];
    world.container(&[&["wait-file", &go], &lines[..], &waits[..]].concat());
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    // It is something else for a second.
    std::thread::sleep(Duration::from_millis(1200));
    fs::write(go, "").unwrap();
    await_kept(monitor.pid());
    await_file(&world.path("done"));
    await_lines(&client, 1500);
    fs::write(end, "").unwrap();
    assert_eq!(monitor.code(), 0);
}

/// Of two streams one ends, which is not the container's end, and must not wake the monitor
/// again and again.
#[rstest]
#[case::standard_error("2")]
#[case::standard_output("1")]
fn a_stream_that_ends_is_the_only_one_that_does(#[case] closed: &str) {
    let world = World::new(Candidate);
    let (go, end) = (world.text("go"), world.text("end"));
    let verb = if closed == "1" { "say-err" } else { "say" };
    let mut verbs = vec!["fork", "trickle", "60", "100", "5000", "wait-file", &go, "end"];
    verbs.extend(["close", closed, "touch", &end, "wait-file", &go]);
    verbs.extend([verb, "still there", "sleep-forever"]);
    world.container(&verbs);
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    await_file(&world.path("end"));
    await_kept(monitor.pid());
    fs::write(&go, "").unwrap();
    monitor.await_log("still there");
    let before = cpu_time(monitor.pid());
    std::thread::sleep(Duration::from_millis(300));
    assert!(cpu_time(monitor.pid()) - before < Duration::from_millis(100), "spins");
    kill(Pid::from_raw(container), Signal::SIGKILL).unwrap();
    assert_eq!(monitor.exit_file(), "137");
}

/// Between lines the monitor's end comes as fast as ever: everything printed is in the log.
#[test]
fn the_last_line_is_logged_before_the_exit_is_recorded() {
    let world = World::new(Candidate);
    world.container(&["trickle", "100", "100", "2000", "print", "unfinished", "exit", "7"]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    assert_eq!(monitor.exit_file(), "7");
    let log = world.log();
    assert_eq!(log.iter().filter(|line| line.contains("xxxx")).count(), 100);
    assert!(log.iter().any(|line| line.ends_with("stdout P unfinished")), "{log:?}");
}
