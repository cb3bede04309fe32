//! `--timeout`.

use crate::facts::{alive, await_fact, await_file, patience};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::sys;
use crate::world::{CID, World};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[rstest]
fn ends_the_container_and_records_minus_one(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["ignore", "TERM", "say", "ready", "sleep-forever"]);
    let monitor = world.create().with(&["--timeout", "1", "--sync"]).sync_pipe();
    let mut monitor = monitor.start();
    let container = monitor.container();
    assert_eq!(monitor.code(), 255);
    assert_eq!(monitor.exit_file(), "-1");
    assert_eq!(fs::read_to_string(world.path("persist/exit")).unwrap(), "-1");
    await_fact("the container's end", || (!alive(container)).then_some(()));
    assert_eq!(world.log(), ["stdout F ready"]);
}

/// F15: the original's timer has whole seconds and fires up to a quarter of one early.
#[test]
fn is_precise() {
    let world = World::new(Candidate);
    world.container(&["sleep-forever"]);
    let mut monitor = world.create().with(&["-T", "1", "--sync"]).sync_pipe().start();
    monitor.container();
    monitor.code();
    // The timer starts when the pid file has been read.
    let started = world.written("pidfile");
    let lasted = world.written(&format!("exits/{CID}")).duration_since(started).unwrap();
    assert!(lasted >= Duration::from_millis(999), "{lasted:?}");
    assert!(lasted < Duration::from_millis(1800), "{lasted:?}");
}

#[rstest]
fn kills_the_whole_process_group(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["fork", "say", "child", "sleep-forever", "end", "sleep-forever"]);
    let mut monitor = world.create().with(&["--timeout", "1", "--sync"]).start();
    monitor.await_log("child");
    assert_eq!(monitor.code(), 255);
    await_fact("everybody's end", || world.processes().is_empty().then_some(()));
}

/// F14: a container that has made no group of its own is in the monitor's.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("-1"))]
fn does_not_kill_the_monitor(#[case] subject: Subject, #[case] expected: Option<&str>) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let script = format!("#!/bin/sh\nsleep 1000 &\nprintf $! > {}\n", world.text("pidfile"));
    let runtime = world.path("rt");
    fs::remove_file(&runtime).unwrap();
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let mut monitor = world.create().with(&["--timeout", "1", "--sync"]).sync_pipe().start();
    let container = monitor.container();
    monitor.ended();
    assert_eq!(monitor.exit_file_within(patience(expected.is_some())).as_deref(), expected);
    await_fact("the container's end", || (!alive(container)).then_some(()));
}

/// F14: when the exit file is there, the original may still be killing.
#[test]
fn has_ended_the_container_before_the_exit_file() {
    let world = World::new(Candidate);
    world.container(&["sleep-forever"]);
    let monitor = world.create().with(&["--timeout", "1"]).sync_pipe().start();
    let container = monitor.container();
    monitor.exit_file();
    assert!(!alive(container));
}

#[rstest]
#[case::none("0")]
#[case::negative("-3")]
#[case::long("1000")]
fn does_not_touch_a_container_that_ends_by_itself(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] seconds: &str,
) {
    let world = World::new(subject);
    world.container(&["exit", "7"]);
    let mut monitor = world.create().with(&["--timeout", seconds, "--sync"]).start();
    assert_eq!(monitor.code(), 7);
    assert_eq!(monitor.exit_file(), "7");
}

/// B9: the original stops reading when the time is up. Stopped meanwhile, a monitor finds both
/// the end of the time and a full pipe when it goes on.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn keeps_what_was_written_before_it(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let (go, done) = (world.text("go"), world.text("done"));
    world.container(&[
        "say",
        "ready",
        "wait-file",
        &go,
        "lines",
        "600",
        "100",
        "touch",
        &done,
        "sleep-forever",
    ]);
    let mut monitor = world.create().with(&["--timeout", "1", "--sync"]).start();
    monitor.await_log("ready");
    sys::kill(monitor.pid(), libc::SIGSTOP).unwrap();
    std::fs::write(go, "").unwrap();
    await_file(&world.path("done"));
    await_fact("the time to be up", || {
        let started = world.written("pidfile");
        (started.elapsed().unwrap() > Duration::from_millis(2500)).then_some(())
    });
    sys::kill(monitor.pid(), libc::SIGCONT).unwrap();
    assert_eq!(monitor.code(), 255);
    assert_eq!(world.output("stdout").len() == "ready\n".len() + 60000, expected);
}

#[rstest]
fn is_reported_for_an_exec_session(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let mut monitor = world.exec().with(&["--timeout", "1", "--sync"]).sync_pipe().start();
    monitor.container();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report, "{\"data\": -1, \"message\": \"command timed out\"}\n");
    assert_eq!(monitor.code(), 255);
}

#[rstest]
fn is_reported_for_a_legacy_exec_session(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let spec = world.text("process.json");
    let monitor = world.create_legacy().with(&["--exec", "--exec-process-spec", &spec]);
    let mut monitor = monitor.with(&["--timeout", "1", "--sync"]).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report, "{\"exit_code\": -1, \"message\": \"command timed out\"}\n");
    assert_eq!(monitor.code(), 255);
}
