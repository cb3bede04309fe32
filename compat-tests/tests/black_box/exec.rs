//! Exec sessions.

use crate::facts::{A_WHILE, await_file, within};
use crate::peer::{Peer, Received};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{CID, Monitor, World};
use rstest::rstest;
use std::fs;

/// An exec session of a caller that knows no API version.
fn legacy(world: &World) -> Monitor<'_> {
    let spec = world.text("process.json");
    world.create_legacy().without("-u").with(&["--exec", "--exec-process-spec", &spec])
}

#[rstest]
fn reports_pid_and_status(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["say", "from exec", "exit", "12"]);
    let mut monitor = world.exec().with(&["--sync"]).sync_pipe().start();
    let pid = monitor.sync().text();
    assert_eq!(pid, format!("{{\"data\": {}}}\n", await_file(&world.path("pidfile"))));
    assert_eq!(monitor.sync().text(), "{\"data\": 12}\n");
    assert_eq!(monitor.sync().receive(), Received::End);
    assert_eq!(monitor.code(), 12);
    assert_eq!(monitor.exit_file(), "12");
    assert_eq!(world.log(), ["stdout F from exec"]);
}

/// Step 33: with a terminal the runtime is waited for in the loop, where the end of a quick
/// session is seen first.
#[rstest]
fn reports_a_session_that_ends_before_its_runtime(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("", "-t")] terminal: &str,
) {
    let world = World::new(subject);
    let mut steps: Vec<&[&str]> = vec![&["container"], &["await-container"], &["pid-file"]];
    if !terminal.is_empty() {
        steps.insert(0, &["console"]);
        steps.push(&["await-console"]);
    }
    world.script(&["say", "quick", "exit", "9"], &steps);
    let options: Vec<&str> = terminal.split_whitespace().collect();
    let mut monitor = world.exec().with(&options).with(&["--sync"]).sync_pipe().start();
    assert!(monitor.container() > 1);
    assert_eq!(monitor.sync().text(), "{\"data\": 9}\n");
    assert_eq!(monitor.code(), 9);
    assert!(world.output("stdout").starts_with("quick"));
}

#[rstest]
fn reports_the_status_alone_without_api_version(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "12"]);
    let mut monitor = legacy(&world).with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().rest(), "{\"exit_code\": 12}\n");
    assert_eq!(monitor.code(), 12);
}

/// Where descriptors are not listed, pipes have their numbers all the same.
#[rstest]
fn reports_without_proc(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "12"]);
    let monitor = legacy(&world).without("-b").with(&["--sync"]).without_proc();
    let mut monitor = monitor.sync_pipe().start();
    assert_eq!(monitor.sync().rest(), "{\"exit_code\": 12}\n");
    assert_eq!(monitor.code(), 12);
}

#[rstest]
#[case::with_api_version(true, "data")]
#[case::without_api_version(false, "exit_code")]
fn a_failure_is_reported_with_the_runtimes_words(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] api_version: bool,
    #[case] key: &str,
) {
    let world = World::new(subject);
    world.script(&[], &[&["stderr", "no such program"], &["exit", "1"]]);
    let monitor = if api_version { world.exec() } else { legacy(&world) };
    let mut monitor = monitor.with(&["--sync"]).sync_pipe().start();
    let expected = format!("{{\"{key}\": -1, \"message\": \"no such program\"}}\n");
    assert_eq!(monitor.sync().rest(), expected);
    assert_eq!(monitor.code(), 1);
    assert!(!world.path("exits").join(CID).exists());
}

/// docs/reference-notes.md: nothing before the newest, unless the runtime said something.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("{\"data\": -1"))]
fn a_silent_failure_is_reported(#[case] subject: Subject, #[case] expected: Option<&str>) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["exit", "1"]]);
    let monitor = world.exec().sync_pipe().start();
    let report = monitor.sync().report();
    match expected {
        Some(start) => assert!(report.as_ref().is_some_and(|r| r.starts_with(start)), "{report:?}"),
        None => assert_eq!(report, None),
    }
}

/// F0: an ExecSync whose runtime cannot run, or fails without a word. CRI-O shows the message.
#[rstest]
#[case::no_runtime_reference(Reference, true, "")]
#[case::no_runtime(Candidate, true, "Runtime path")]
#[case::silent_reference(Reference, false, "")]
#[case::silent(Candidate, false, "pidfile")]
fn the_cause_of_an_exec_sync_that_cannot_run_is_told(
    #[case] subject: Subject,
    #[case] missing: bool,
    #[case] expected: &str,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["exit", "1"]]);
    if missing {
        fs::remove_file(world.path("rt")).unwrap();
    }
    let mut monitor = legacy(&world).without("-b").with(&["--sync"]).sync_pipe().start();
    let report = monitor.sync().rest();
    assert_eq!(report.is_empty(), expected.is_empty(), "{report}");
    if !expected.is_empty() {
        assert!(report.starts_with("{\"exit_code\": -1, \"message\": \""), "{report}");
        assert!(report.contains(expected), "{report}");
    }
    assert_eq!(monitor.code(), 1);
}

/// F12: later originals ignore the runtime's status when there is a pid file.
#[rstest]
fn a_failure_after_the_pid_file_is_reported(#[values(Reference, Candidate)] subject: Subject) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["pid-file", "4194000"], &["stderr", "too late"], &["exit", "1"]]);
    let mut monitor = legacy(&world).with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().rest(), "{\"exit_code\": -1, \"message\": \"too late\"}\n");
    assert_eq!(monitor.code(), 1);
}

/// F10: later originals tell only that there was no terminal.
#[rstest]
#[case::reference(Reference, "{\"data\": -1, \"message\": \"no such program\"}\n")]
#[case::candidate(
    Candidate,
    "{\"data\": -1, \"message\": \"Runtime did not set up terminal: no such program\"}\n"
)]
fn a_failure_with_a_terminal_keeps_the_runtimes_words(
    #[case] subject: Subject,
    #[case] expected: &str,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["stderr", "no such program"], &["exit", "1"]]);
    let mut monitor = world.exec().with(&["-t", "--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().report().as_deref(), Some(expected));
    assert_eq!(monitor.code(), 1);
}

/// F8: the original ends before it reports.
#[rstest]
#[case::reference(Reference, "")]
#[case::candidate(Candidate, "{\"data\": 12}\n")]
fn a_lost_exit_directory_does_not_cost_the_result(
    #[case] subject: Subject,
    #[case] expected: &str,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    fs::remove_dir(world.path("exits")).unwrap();
    world.container(&["exit", "12"]);
    let monitor = world.exec().sync_pipe().start();
    assert!(monitor.container() > 1);
    assert_eq!(monitor.sync().rest(), expected);
}

/// The handshake of EXEC-2, as Podman and CRI-O play it.
#[rstest]
fn an_attached_session_waits_for_its_client(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("", "-t", "-i")] options: &str,
) {
    let world = World::new(subject);
    world.container(&["say", "first words", "exit", "3"]);
    let options: Vec<&str> = options.split_whitespace().collect();
    let monitor = world.exec().with(&["--exec-attach"]).with(&options);
    let mut monitor = monitor.sync_pipe().start_pipe().attach_pipe().start();
    assert_eq!(within(A_WHILE / 5, || world.path("bundle/attach").exists().then_some(())), None);
    monitor.start_pipe().send(b"x");
    assert_eq!(monitor.attach_pipe().text(), "{\"data\": 0}\n");
    let client = Peer::attach(&world.path("bundle/attach"));
    assert_eq!(monitor.sync().receive_within(A_WHILE / 5), None, "no runtime before the byte");
    assert!(!world.path("pidfile").exists());
    monitor.start_pipe().send(b"x");
    assert!(monitor.container() > 1);
    let text = client.rest();
    let unmarked = text.replace('\u{2}', "");
    assert!(text.starts_with('\u{2}') && unmarked.starts_with("first words"), "{text:?}");
    assert_eq!(monitor.sync().text(), "{\"data\": 3}\n");
    assert_eq!(monitor.ended().code(), Some(0));
}

#[rstest]
fn an_attached_session_without_start_pipe_begins_at_once(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "3"]);
    let monitor = world.exec().with(&["--exec-attach"]).sync_pipe().attach_pipe().start();
    assert_eq!(monitor.attach_pipe().text(), "{\"data\": 0}\n");
    assert!(monitor.container() > 1);
    assert_eq!(monitor.sync().text(), "{\"data\": 3}\n");
}

#[rstest]
fn an_attached_session_needs_its_pipe(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "3"]);
    let monitor = world.exec().with(&["--exec-attach", "--sync"]).sync_pipe();
    let launched = monitor.start().launched();
    assert_eq!(launched.status, Some(1));
    let text = "--attach specified but _OCI_ATTACHPIPE was not";
    assert!(launched.stderr.contains(text), "{}", launched.stderr);
    assert!(!world.path("pidfile").exists());
}

/// Without a bundle there is nowhere to put sockets and FIFOs.
#[rstest]
fn without_a_bundle_has_no_control_files(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "3"]);
    let here = world.path("sockets");
    let monitor = world.exec().without("-b").current_dir(&here).with(&["--sync"]);
    assert_eq!(monitor.start().code(), 3);
    assert_eq!(fs::read_dir(here).unwrap().count(), 0);
}

/// E3: later originals die of it, in the daemon.
#[rstest]
#[case::reference(Reference, "parent dir (null)")]
#[case::candidate(Candidate, "--sdnotify-socket needs a bundle")]
fn a_notify_socket_needs_a_bundle(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "3"]);
    let monitor = world.exec().without("-b").with(&["--sync", "--sdnotify-socket", "/none"]);
    assert_eq!(monitor.start().code(), 1);
    let stderr = fs::read_to_string(world.path("stderr")).unwrap();
    assert!(stderr.contains(expected), "{stderr}");
}
