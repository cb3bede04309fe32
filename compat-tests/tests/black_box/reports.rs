//! What the sync pipe tells the caller about create and restore.

use crate::facts::{A_WHILE, alive, await_fact, cpu_time, within};
use crate::peer::{Peer, Received};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

#[rstest]
#[case::without_api_version(false, false, "pid")]
#[case::with_api_version(true, false, "data")]
#[case::restore_without_api_version(false, true, "pid")]
#[case::restore_with_api_version(true, true, "data")]
fn the_containers_pid_is_reported(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] api_version: bool,
    #[case] restore: bool,
    #[case] key: &str,
) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let monitor = if api_version { world.create() } else { world.create_legacy() };
    let options: &[&str] = if restore { &["--restore", "/image"] } else { &[] };
    let monitor = monitor.with(options).sync_pipe().start();
    let packet = monitor.sync().text();
    let pid = fs::read_to_string(world.path("pidfile")).unwrap();
    assert_eq!(packet, format!("{{\"{key}\": {pid}}}\n"));
    assert_eq!(monitor.sync().receive(), Received::End);
}

#[rstest]
#[case::without_api_version(false, "pid")]
#[case::with_api_version(true, "data")]
fn a_failed_create_is_reported_with_the_runtimes_words(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] api_version: bool,
    #[case] key: &str,
) {
    let world = World::new(subject);
    world.script(&[], &[&["stderr", "no such image\n"], &["exit", "3"]]);
    let monitor = if api_version { world.create() } else { world.create_legacy() };
    let mut monitor = monitor.with(&["--sync"]).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report, format!("{{\"{key}\": -1, \"message\": \"no such image\\n\"}}\n"));
    assert_eq!(monitor.code(), 1);
    assert!(!world.path("exits").join(crate::world::CID).exists());
    assert!(!world.path("persist/exit").exists());
}

/// docs/reference-notes.md: before 2.2.0 a silent failure was told by the end of the stream alone.
#[rstest]
#[case::silent_reference(Reference, &["exit", "3"], None)]
#[case::silent(Candidate, &["exit", "3"], Some("{\"data\": -1}\n"))]
#[case::killed_reference(Reference, &["kill-self", "KILL"], None)]
#[case::killed(Candidate, &["kill-self", "KILL"], Some("{\"data\": -1}\n"))]
fn a_silent_failure_is_reported(
    #[case] subject: Subject,
    #[case] step: &[&str],
    #[case] expected: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[step]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().report().as_deref(), expected);
    assert_eq!(monitor.code(), 1);
}

#[rstest]
#[case::quotes("a \"b\" c", "a \\\"b\\\" c")]
#[case::backslash("a\\b", "a\\\\b")]
#[case::newline_and_tab("a\n\tb\n", "a\\n\\tb\\n")]
#[case::control("a\u{1}b\u{1e}", "a\\u0001b\\u001e")]
#[case::delete("a\u{7f}b", "a\\u007fb")]
#[case::beyond_ascii("grün ☃", "grün ☃")]
fn messages_are_escaped(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] text: &str,
    #[case] escaped: &str,
) {
    let world = World::new(subject);
    check_escaping(&world, text.as_bytes(), escaped);
}

/// docs/reference-notes.md: the escapes grew in 2.2.0.
#[rstest]
#[case::slash_reference(Reference, "a/b", "a/b")]
#[case::slash(Candidate, "a/b", "a\\/b")]
#[case::return_reference(Reference, "a\rb", "a\\u000db")]
#[case::return_(Candidate, "a\rb", "a\\rb")]
#[case::backspace_reference(Reference, "a\u{8}b", "a\\u0008b")]
#[case::backspace(Candidate, "a\u{8}b", "a\\bb")]
#[case::form_feed_reference(Reference, "a\u{c}b", "a\\u000cb")]
#[case::form_feed(Candidate, "a\u{c}b", "a\\fb")]
#[case::last_control_reference(Reference, "a\u{1f}b", "a\u{1f}b")]
#[case::last_control(Candidate, "a\u{1f}b", "a\\u001fb")]
fn messages_are_escaped_as_json(
    #[case] subject: Subject,
    #[case] text: &str,
    #[case] escaped: &str,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    check_escaping(&world, text.as_bytes(), escaped);
}

#[rstest]
fn a_message_ends_at_a_nul(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    check_escaping(&world, b"before\0after", "before");
}

fn check_escaping(world: &World, text: &[u8], escaped: &str) {
    let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
    world.script(&[], &[&["stderr-hex", &hex], &["exit", "1"]]);
    let monitor = world.create().sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report, format!("{{\"data\": -1, \"message\": \"{escaped}\"}}\n"));
}

/// The cause is last, and 4096 bytes is what Podman takes at a time. The original keeps the
/// beginning, in one packet.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_long_message_keeps_its_end(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let cause = &["stderr", "THE CAUSE"];
    world.script(&[], &[&["stderr-bytes", "20000"], cause, &["exit", "1"]]);
    let monitor = world.create().sync_pipe().start();
    let mut packets = Vec::new();
    while let Received::Packet(packet) = monitor.sync().receive() {
        packets.push(packet);
    }
    let all = String::from_utf8(packets.concat()).unwrap();
    assert!(all.starts_with("{\"data\": -1, \"message\": \""), "{all}");
    assert!(all.ends_with("\"}\n"), "{all}");
    assert_eq!(all.contains("THE CAUSE"), expected);
    assert_eq!(packets.iter().all(|packet| packet.len() <= 4096), expected);
}

/// A4: the original waits for the runtime, which waits for somebody to read.
#[rstest]
#[case::reference(Reference, &["stderr-bytes", "200000"], false)]
#[case::candidate(Candidate, &["stderr-bytes", "200000"], true)]
#[case::reference_stdout(Reference, &["stdout-bytes", "200000"], false)]
#[case::candidate_stdout(Candidate, &["stdout-bytes", "200000"], true)]
fn a_talkative_runtime_is_read(
    #[case] subject: Subject,
    #[case] step: &[&str],
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[step, &["exit", "1"]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    if expected {
        assert!(monitor.sync().report().unwrap().starts_with("{\"data\": -1"));
        assert_eq!(monitor.code(), 1);
    } else {
        assert_eq!(monitor.ended_within(A_WHILE), None);
    }
}

/// A5: the original waits in a read for what the runtime left behind.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_process_left_behind_does_not_delay_the_report(
    #[case] subject: Subject,
    #[case] expected: bool,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["leave-holder", &world.text("never")], &["exit", "1"]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    if expected {
        assert_eq!(monitor.sync().report().as_deref(), Some("{\"data\": -1}\n"));
        assert_eq!(monitor.code(), 1);
    } else {
        assert_eq!(monitor.ended_within(A_WHILE), None);
    }
}

/// RUN-13. docs/reference-notes.md: the original said nothing before the newest.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_missing_pid_file_is_reported(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&["sleep-forever"], &[&["container"]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    let report = monitor.sync().report();
    let text = format!("Failed to open file “{}”: No such file", world.text("pidfile"));
    let text = text.replace('/', "\\/");
    assert_eq!(report.is_some_and(|report| report.contains(&text)), expected);
    assert_eq!(monitor.code(), 1);
}

/// F6: nobody would watch it, so it must not run on.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn a_container_without_pid_file_runs_on(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let running = world.text("running");
    world
        .script(&["touch", &running, "sleep-forever"], &[&["container"], &["wait-file", &running]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.code(), 1);
    let gone = || world.processes().is_empty().then_some(());
    if expected {
        assert_eq!(within(A_WHILE, gone), None);
    } else {
        await_fact("the container's end", gone);
    }
}

/// F6: what a shell started before it became the monitor is not what the runtime left.
#[rstest]
fn a_child_from_before_is_left_alone(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.script(&[], &[&["exit", "0"]]);
    let child = world.text("child");
    let monitor = world.create().with(&["--sync"]).sync_pipe();
    let mut monitor = monitor.after(&format!("sleep 1000 & echo $! > {child}")).start();
    assert_eq!(monitor.code(), 1);
    let child = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    assert_eq!(within(A_WHILE / 5, || (!alive(child)).then_some(())), None);
}

/// F7: the original takes what `atoi` makes of it.
#[rstest]
#[case::garbage_reference(Reference, "abc", "{\"data\": 0}\n")]
#[case::garbage(Candidate, "abc", "{\"data\": -1, \"message\": ")]
#[case::negative_reference(Reference, "-5", "{\"data\": -5}\n")]
#[case::negative(Candidate, "-5", "{\"data\": -1, \"message\": ")]
#[case::empty_reference(Reference, "", "{\"data\": 0}\n")]
#[case::empty(Candidate, "", "{\"data\": -1, \"message\": ")]
fn a_senseless_pid_file_is_reported(
    #[case] subject: Subject,
    #[case] text: &str,
    #[case] expected: &str,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&["exit", "0"], &[&["container"], &["pid-file", text]]);
    let monitor = world.create().sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert!(report.starts_with(expected), "{report}");
}

#[rstest]
#[case::newline("\n")]
#[case::trailing_text(" and more")]
fn a_pid_file_may_go_on_after_the_number(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] after: &str,
) {
    let world = World::new(subject);
    let holder = world.text("holder");
    world.script(
        &["write-file", &holder, "", "sleep-forever"],
        &[&["container"], &["wait-file", &world.text("given")]],
    );
    let monitor = world.create().sync_pipe().start();
    crate::facts::await_file(&world.path("holder"));
    // The container's pid is its session, and only the container leads one besides the monitor.
    let monitor_pid = monitor.pid();
    let container = await_fact("the container process", || {
        world.processes().into_iter().find(|pid| {
            *pid != monitor_pid
                && crate::facts::stat(*pid).is_some_and(|fields| fields[3] == pid.to_string())
        })
    });
    fs::write(world.path("pidfile"), format!("{container}{after}")).unwrap();
    fs::write(world.path("given"), "").unwrap();
    assert_eq!(monitor.container(), container);
}

/// F11: the original's child ends with 127 and says nothing.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("Permission denied"))]
fn a_runtime_that_cannot_be_executed_is_reported(
    #[case] subject: Subject,
    #[case] expected: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let directory = world.text("sockets");
    let monitor = world.create().without("-r").with(&["-r", &directory, "--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    let report = monitor.sync().report();
    match expected {
        Some(text) => assert!(report.as_ref().is_some_and(|r| r.contains(text)), "{report:?}"),
        None => assert_eq!(report, None),
    }
    assert_eq!(monitor.code(), 1);
}

/// REP-7. docs/reference-notes.md: fatal before 2.1.8.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("4"))]
fn a_caller_that_hangs_up_does_not_matter(
    #[case] subject: Subject,
    #[case] expected: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "4"]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start_pipe().start();
    monitor.close_sync();
    monitor.close_start();
    assert_eq!(monitor.code(), if expected.is_some() { 4 } else { 1 });
    assert_eq!(monitor.exit_file_within(Duration::ZERO).as_deref(), expected);
}

/// A9: a full non-blocking pipe is to be waited for; the original gives up, later ones spin.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_full_sync_pipe_is_waited_for(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let running = world.text("running");
    world.container(&["touch", &running, "sleep-forever"]);
    let (ours, theirs) = Peer::pair();
    let stuffing = fill(&theirs);
    let mut monitor = world.create().with(&["--sync"]);
    let number = monitor.inherit(theirs);
    let mut monitor = monitor.env("_OCI_SYNCPIPE", number.to_string()).start();
    if !expected {
        assert_eq!(monitor.code(), 1);
        return;
    }
    crate::facts::await_file(&world.path("running"));
    let before = cpu_time(monitor.pid());
    assert_eq!(monitor.ended_within(A_WHILE), None);
    assert!(cpu_time(monitor.pid()) - before < A_WHILE / 5, "busy waiting");
    for _ in 0..stuffing {
        assert_eq!(ours.receive(), Received::Packet(b"stuffing".to_vec()));
    }
    assert!(ours.report().unwrap().starts_with("{\"data\": "));
    assert!(alive(monitor.pid()));
}

/// Makes the socket non-blocking and full; returns the number of packets that took.
pub fn fill(socket: &OwnedFd) -> usize {
    use nix::sys::socket::{MsgFlags, send};
    use std::os::fd::AsRawFd;
    nix::fcntl::fcntl(socket, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let sent = || send(socket.as_raw_fd(), b"stuffing", MsgFlags::empty()).ok();
    std::iter::from_fn(sent).count()
}

#[rstest]
fn works_without_a_sync_pipe(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "6"]);
    let monitor = world.create().start();
    assert_eq!(monitor.exit_file(), "6");
}

/// F0: the original says it on stderr alone. The options tell the word, however they are spelled.
#[rstest]
#[case::reference(Reference, &["--api-version=1"], None)]
#[case::create(Candidate, &[], Some("pid"))]
#[case::flag_with_a_value(Candidate, &["--api-version=1"], Some("data"))]
#[case::letters(Candidate, &["-te"], Some("exit_code"))]
#[case::value_of_an_option(Candidate, &["--name", "-e"], Some("pid"))]
fn a_refused_option_is_reported(
    #[case] subject: Subject,
    #[case] options: &[&str],
    #[case] key: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let monitor = world.create_legacy().with(options).with(&["--log-level", "loud"]);
    let monitor = monitor.sync_pipe().start();
    let expected =
        key.map(|key| format!("{{\"{key}\": -1, \"message\": \"No such log level loud\"}}\n"));
    assert_eq!(monitor.sync().report(), expected);
}

/// F0: an attach pipe that cannot be used is told on the sync pipe, which can.
#[rstest]
#[case::reference(Reference, Some("99"), None)]
#[case::closed(
    Candidate,
    Some("99"),
    Some("unable to make _OCI_ATTACHPIPE CLOEXEC Bad file descriptor")
)]
#[case::no_number(Candidate, Some("abc"), Some("unable to parse _OCI_ATTACHPIPE"))]
#[case::none(Candidate, None, Some("--attach specified but _OCI_ATTACHPIPE was not"))]
fn a_bad_attach_pipe_is_reported(
    #[case] subject: Subject,
    #[case] value: Option<&str>,
    #[case] text: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let mut monitor = world.exec().with(&["--exec-attach"]).sync_pipe();
    if let Some(value) = value {
        monitor = monitor.env("_OCI_ATTACHPIPE", value);
    }
    let expected = text.map(|text| format!("{{\"data\": -1, \"message\": \"{text}\"}}\n"));
    assert_eq!(monitor.start().sync().report(), expected);
}

#[rstest]
#[case::not_a_number("12x", "[conmon:e]: unable to parse _OCI_SYNCPIPE")]
#[case::a_closed_number(
    "99",
    "[conmon:e]: unable to make _OCI_SYNCPIPE CLOEXEC Bad file descriptor"
)]
fn a_bad_sync_pipe_is_refused(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] value: &str,
    #[case] expected: &str,
) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let monitor = world.create().with(&["--sync"]).env("_OCI_SYNCPIPE", value);
    let launched = monitor.start().launched();
    assert_eq!(launched.status, Some(1));
    assert!(launched.stderr.starts_with(expected), "{}", launched.stderr);
    assert!(!world.path("pidfile").exists());
}
