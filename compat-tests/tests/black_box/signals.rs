//! Signals to the monitor, in each phase of its life.

use crate::facts::{A_WHILE, alive, await_fact, await_settled, stat};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::sys;
use crate::world::World;
use rstest::rstest;

#[rstest]
#[case::term(libc::SIGTERM, "TERM")]
#[case::int(libc::SIGINT, "INT")]
#[case::quit(libc::SIGQUIT, "QUIT")]
fn are_forwarded_to_the_container(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] number: i32,
    #[case] name: &str,
) {
    let world = World::new(subject);
    world.container(&["trap", name, "caught", "say", "ready", "wait-signal", "exit", "6"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.await_log("ready");
    sys::kill(monitor.pid(), number).unwrap();
    assert_eq!(monitor.code(), 6);
    assert_eq!(world.log(), ["stdout F ready", "stdout F caught"]);
}

/// The container process alone: its children get theirs from it.
#[rstest]
fn are_not_forwarded_to_the_group(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&[
        "fork",
        "trap",
        "TERM",
        "child caught",
        "say",
        "child",
        "sleep-forever",
        "end",
        "trap",
        "TERM",
        "caught",
        "say",
        "ready",
        "wait-signal",
        "exit",
        "6",
    ]);
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.await_log("ready");
    monitor.await_log("stdout F child");
    sys::kill(monitor.pid(), libc::SIGTERM).unwrap();
    assert_eq!(monitor.code(), 6);
    assert!(!world.log().iter().any(|line| line.contains("child caught")), "{:?}", world.log());
}

/// F4: the original dies, and the container runs on with nobody to record its end.
#[rstest]
#[case::hup_reference(Reference, libc::SIGHUP, false)]
#[case::hup(Candidate, libc::SIGHUP, true)]
#[case::usr2_reference(Reference, libc::SIGUSR2, false)]
#[case::usr2(Candidate, libc::SIGUSR2, true)]
#[case::alrm_reference(Reference, libc::SIGALRM, false)]
#[case::alrm(Candidate, libc::SIGALRM, true)]
fn of_other_kinds_do_not_end_it(
    #[case] subject: Subject,
    #[case] number: i32,
    #[case] survives: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["say", "ready", "wait-file", &go, "exit", "6"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.await_log("ready");
    sys::kill(monitor.pid(), number).unwrap();
    if survives {
        assert_eq!(monitor.ended_within(A_WHILE / 3), None);
        std::fs::write(go, "").unwrap();
        assert_eq!(monitor.code(), 6);
        assert_eq!(monitor.exit_file(), "6");
    } else {
        assert_eq!(monitor.code(), -number);
    }
}

/// Both versions use it themselves, to look after their children.
#[rstest]
fn usr1_is_harmless(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["say", "ready", "wait-file", &go, "exit", "6"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.await_log("ready");
    for _ in 0..20 {
        sys::kill(monitor.pid(), libc::SIGUSR1).unwrap();
    }
    assert_eq!(monitor.ended_within(A_WHILE / 3), None);
    std::fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 6);
}

#[rstest]
#[case::term(libc::SIGTERM, 1)]
#[case::int(libc::SIGINT, -libc::SIGINT)]
#[case::hup(libc::SIGHUP, -libc::SIGHUP)]
#[case::usr1(libc::SIGUSR1, -libc::SIGUSR1)]
fn before_the_start_byte_end_it(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] number: i32,
    #[case] code: i32,
) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = world.create().with(&["--sync"]).start_pipe().start();
    // The handler is there once it sleeps in the read of the start pipe.
    await_settled(monitor.pid());
    sys::kill(monitor.pid(), number).unwrap();
    assert_eq!(monitor.code(), code);
    assert_eq!(std::fs::read_to_string(world.path("stderr")).unwrap(), "");
    assert!(!world.path("bundle/attach").exists());
}

#[rstest]
fn go_to_the_runtime_while_it_creates(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("", "-t")] options: &str,
) {
    let world = World::new(subject);
    world.script(&[], &[&["touch", &world.text("hanging")], &["hang"]]);
    let options: Vec<&str> = options.split_whitespace().collect();
    let mut monitor = world.create().with(&options).with(&["--sync"]).sync_pipe().start();
    crate::facts::await_file(&world.path("hanging"));
    sys::kill(monitor.pid(), libc::SIGTERM).unwrap();
    assert_eq!(monitor.code(), 1);
    assert!(world.processes().is_empty());
}

#[rstest]
fn a_killed_monitor_takes_its_runtime_along(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.script(&[], &[&["touch", &world.text("hanging")], &["hang"]]);
    let mut monitor = world.create().with(&["--sync"]).start();
    crate::facts::await_file(&world.path("hanging"));
    sys::kill(monitor.pid(), libc::SIGKILL).unwrap();
    assert_eq!(monitor.code(), -libc::SIGKILL);
    await_fact("the runtime's end", || world.processes().is_empty().then_some(()));
}

#[rstest]
fn a_killed_monitor_leaves_its_container(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["say", "ready", "sleep-forever"]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    let container = monitor.container();
    monitor.await_log("ready");
    sys::kill(monitor.pid(), libc::SIGKILL).unwrap();
    assert_eq!(monitor.code(), -libc::SIGKILL);
    assert!(alive(container));
    assert!(stat(container).is_some());
}
