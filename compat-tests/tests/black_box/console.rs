//! The console socket and what a runtime may do wrong with it.

use crate::facts::{A_WHILE, await_fact, cpu_time};
use crate::peer::Peer;
use crate::refusing::has_strace;
use crate::skip::skipped;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::World;
use rstest::rstest;
use std::fs;

fn left_in_temporary_directory(world: &World) -> usize {
    fs::read_dir(world.path("tmp")).unwrap().count()
}

#[rstest]
fn gives_the_container_a_terminal(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["isatty", "say-err", "to stderr", "exit", "3"]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    assert!(monitor.container() > 1);
    assert_eq!(monitor.code(), 3);
    assert_eq!(world.output("stdout"), "tty tty tty\r\nto stderr\r\n");
    assert_eq!(left_in_temporary_directory(&world), 0);
}

#[rstest]
fn passes_typing_and_window_sizes_on(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["on-winch", "say", "ready", "wait-signal", "read-line", "winsize"]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    let client = Peer::attach(&world.path("bundle/attach"));
    monitor.await_log("ready");
    world.write_fifo("ctl", b"1 24 80\n");
    monitor.await_log("winch 24 80");
    client.send(b"typed\n");
    assert_eq!(monitor.code(), 0);
    let output = world.output("stdout");
    assert!(output.ends_with("got typed\r\n24 80\r\n"), "{output:?}");
    let seen = client.rest().replace('\u{2}', "");
    assert!(output.ends_with(&seen) && seen.contains("got typed"), "{seen:?}");
}

/// Callers send the first size before there is a terminal.
#[rstest]
fn keeps_an_early_window_size(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.script(
        &["wait-file", &world.text("sized"), "winsize"],
        &[&["wait-file", &go], &["console"], &["container"], &["pid-file"], &["await-console"]],
    );
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    world.write_fifo("ctl", b"1 33 101\n");
    fs::write(go, "").unwrap();
    monitor.container();
    crate::facts::await_settled(monitor.pid());
    fs::write(world.path("sized"), "").unwrap();
    assert_eq!(monitor.code(), 0);
    assert_eq!(world.output("stdout"), "33 101\r\n");
}

/// Podman writes the size right after the report and then starts the container. On the way from the
/// report to the wait that looks at the fifo nothing waits for anything, so that the size is served
/// as soon as the monitor gets a processor.
#[test]
fn nothing_comes_between_the_report_and_a_window_size() {
    if !has_strace() {
        return;
    }
    let world = World::new(Candidate);
    let (sized, trace) = (world.text("sized"), world.text("trace"));
    world.script(
        &["wait-file", &sized, "winsize"],
        &[&["console"], &["container"], &["pid-file"], &["await-console"]],
    );
    let strace = format!("exec strace -D -qq -f -o {trace} \"$@\"");
    let mut monitor = world.create().with(&["-t", "--sync"]).after(&strace).sync_pipe().start();
    let report = monitor.sync().report();
    if fs::read_to_string(&trace).unwrap_or_default().is_empty() {
        skipped("processes cannot be traced here");
        return;
    }
    assert!(report.is_some());
    world.write_fifo("ctl", b"1 33 101\n");
    await_fact("the size is set", || {
        fs::read_to_string(&trace).unwrap().contains("TIOCSWINSZ").then_some(())
    });
    fs::write(sized, "").unwrap();
    assert_eq!(monitor.code(), 0);
    assert_eq!(world.output("stdout"), "33 101\r\n");

    let text = fs::read_to_string(&trace).unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let is_report = |call: &str| call.contains(r#"{\"data\""#);
    let (pid, _) = lines.by_ref().find(|(_, call)| is_report(call)).expect("the report");
    let own = lines.filter(|(of, _)| *of == pid).map(|(_, call)| call.trim_start());
    // A call during which another process was heard of is in two lines.
    let mut calls: Vec<String> = Vec::new();
    for line in own {
        match (line.split_once(" resumed>"), calls.last_mut()) {
            (Some((_, rest)), Some(call)) => call.push_str(rest),
            _ => calls.push(line.to_owned()),
        }
    }
    // A look at one descriptor, without a time, is none.
    let waits_for_many = |call: &String| call.starts_with("ppoll([{") && call.contains("}, {");
    let between: Vec<String> = calls.into_iter().take_while(|call| !waits_for_many(call)).collect();
    let waits = |call: &String| {
        let name = call.split('(').next().unwrap_or_default();
        let endless = name.starts_with("wait") && !call.contains("WNOHANG");
        let timed = name == "ppoll" && !call.contains("{tv_sec=0, tv_nsec=0}");
        let asleep = ["clock_nanosleep", "nanosleep", "fsync", "fdatasync", "futex", "flock"];
        endless || timed || asleep.contains(&name)
    };
    assert!(!between.iter().any(waits), "{between:#?}");
    // Most of them set up the watch for memory. The reference makes 14 to 30.
    assert!((1..40).contains(&between.len()), "{between:#?}");
}

#[rstest]
fn a_failed_create_keeps_the_runtimes_words(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.script(&[], &[&["stderr", "no image"], &["exit", "1"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report, "{\"data\": -1, \"message\": \"no image\"}\n");
    assert_eq!(monitor.code(), 1);
}

/// docs/reference-notes.md: 2.1.6 is silent; F10: later ones leave out what the runtime said.
#[rstest]
#[case::silent_reference(Reference, "", None)]
#[case::silent(
    Candidate,
    "",
    Some("{\"data\": -1, \"message\": \"Runtime did not set up terminal\"}\n")
)]
#[case::talking_reference(Reference, "why", None)]
#[case::talking(
    Candidate,
    "why",
    Some("{\"data\": -1, \"message\": \"Runtime did not set up terminal: why\"}\n")
)]
fn a_runtime_that_never_connects_is_reported(
    #[case] subject: Subject,
    #[case] text: &str,
    #[case] expected: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&["exit", "0"], &[&["stderr", text], &["container"], &["pid-file"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().report().as_deref(), expected);
    assert_eq!(monitor.code(), 1);
}

/// Later originals leave the socket file behind, 2.1.6 too.
#[rstest]
#[case::reference(Reference, 1)]
#[case::candidate(Candidate, 0)]
fn an_unused_socket_is_left(#[case] subject: Subject, #[case] expected: usize) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["exit", "1"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    assert_eq!(monitor.code(), 1);
    assert_eq!(left_in_temporary_directory(&world), expected);
}

/// docs/reference-notes.md: 2.1.6 takes its own standard input for the terminal.
#[rstest]
#[case::closed_reference(Reference, "close", false)]
#[case::closed(Candidate, "close", true)]
#[case::nothing_sent_reference(Reference, "no-fd", false)]
#[case::no_descriptor(Candidate, "no-fd", true)]
fn a_failed_handover_is_reported(
    #[case] subject: Subject,
    #[case] how: &str,
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&["sleep-forever"], &[&["console", how], &["container"], &["pid-file"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report.starts_with("{\"data\": -1, \"message\": \""), expected, "{report}");
    if expected {
        assert!(["console", "terminal"].iter().any(|word| report.contains(word)), "{report}");
        assert_eq!(monitor.code(), 1);
        await_fact("everybody's end", || world.processes().is_empty().then_some(()));
    }
}

#[rstest]
fn a_descriptor_that_is_no_terminal_is_used_as_it_is(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    let steps: &[&[&str]] =
        &[&["console", "null-fd"], &["container"], &["pid-file"], &["await-console"]];
    world.script(&["exit", "4"], steps);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    assert!(monitor.container() > 1);
    assert_eq!(monitor.code(), 4);
}

/// F34: the first is the container's terminal, and no other stays open. The original takes another one,
/// whose output is nobody's.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn of_several_descriptors_the_first_is_kept(#[case] subject: Subject, #[case] expected: bool) {
    let mut open = Vec::new();
    for how in [&["console"][..], &["console", "two-fds"]] {
        let Some(world) = World::as_in_2_1_6(subject) else { return };
        let ready = world.text("ready");
        world.script(
            &["say", "here", "touch", &ready, "sleep-forever"],
            &[how, &["container"], &["pid-file"], &["await-console"]],
        );
        let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
        assert!(monitor.container() > 1);
        await_fact("the container", || world.path("ready").exists().then_some(()));
        let limit = crate::facts::patience(expected || how.len() == 1);
        let logged = crate::facts::within(limit, || (!world.log().is_empty()).then_some(()));
        assert_eq!(logged.is_some(), expected || how.len() == 1, "{how:?}");
        open.push(crate::facts::descriptors(monitor.pid()).len());
        assert_eq!(monitor.ended_within(std::time::Duration::ZERO), None);
    }
    assert_eq!(open[0], open[1]);
}

/// The original sometimes sees the runtime's end first, and then forgets the console.
#[test]
fn the_terminal_of_a_runtime_that_has_ended_is_taken() {
    for _ in 0..20 {
        let world = World::new(Candidate);
        world.script(&["exit", "4"], &[&["console"], &["container"], &["pid-file"]]);
        let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
        assert!(monitor.container() > 1);
        assert_eq!(monitor.code(), 4);
    }
}

/// A silent connection while the runtime lives must not stop anything else.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_silent_connection_blocks_nothing(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["console", "nothing"], &["touch", &world.text("connected")], &["hang"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    crate::facts::await_file(&world.path("connected"));
    crate::facts::await_settled(monitor.pid());
    let _client = Peer::attach(&world.path("bundle/attach"));
    crate::facts::await_settled(monitor.pid());
    let accepted = || {
        let fds = crate::facts::descriptors(monitor.pid());
        fds.iter().filter(|(_, target)| target.starts_with("socket:")).count()
    };
    // Listener, sync pipe, console connection, and the client when it has been accepted.
    assert_eq!(accepted() >= 4, expected);
    crate::sys::kill(monitor.pid(), libc::SIGTERM).unwrap();
    assert_eq!(monitor.code(), 1);
}

#[rstest]
fn a_container_that_closes_its_terminal_costs_no_cpu(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    let closed = world.text("closed");
    world.container(&["close", "0", "close", "1", "close", "2", "touch", &closed, "sleep-forever"]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    crate::facts::await_file(&world.path("closed"));
    let before = cpu_time(monitor.pid());
    assert_eq!(monitor.ended_within(A_WHILE), None);
    assert!(cpu_time(monitor.pid()) - before < A_WHILE / 10);
}

/// F25: what fails before there is a runtime leaves no socket that nobody listens to.
#[rstest]
#[case::reference(Reference, 1)]
#[case::candidate(Candidate, 0)]
fn a_failure_before_the_runtime_leaves_a_socket(#[case] subject: Subject, #[case] expected: usize) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    fs::create_dir(world.path("bundle/ctl")).unwrap();
    assert_eq!(world.create().with(&["-t", "--sync"]).start().code(), 1);
    assert!(!world.path("pidfile").exists());
    assert_eq!(left_in_temporary_directory(&world), expected);
}
