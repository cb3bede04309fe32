//! From the first process to the running container.

use crate::facts::{A_WHILE, alive, await_fact, parse_mask, signal_mask, stat, status, within};
use crate::peer::Received;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{CID, World};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const SIGPIPE_BIT: u64 = 1 << (libc::SIGPIPE - 1);

fn mode(world: &World, name: &str) -> u32 {
    fs::metadata(world.path(name)).unwrap().mode() & 0o7777
}

#[rstest]
fn runs_a_container_from_start_to_exit(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["say", "hello", "say-err", "oops", "exit", "5"]);
    let mut monitor = world.create().sync_pipe().start();
    let launched = monitor.launched();
    assert_eq!(
        (launched.status, launched.stdout, launched.stderr),
        (Some(0), "".into(), "".into())
    );
    assert!(monitor.container() > 1);
    assert_eq!(monitor.exit_file(), "5");
    assert_eq!(fs::read_to_string(world.path("persist/exit")).unwrap(), "5");
    let mut log = world.log();
    log.sort();
    assert_eq!(log, ["stderr F oops", "stdout F hello"]);
    assert_eq!(monitor.sync().receive(), Received::End);
}

/// Rule 8 of callers: the caller moves the monitor into its cgroup first.
#[rstest]
fn does_nothing_before_the_start_byte(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = world.create().sync_pipe().start_pipe().start();
    let forked = within(A_WHILE, || (world.processes().len() > 1).then_some(()));
    assert_eq!(forked, None);
    assert!(world.path("log").exists(), "the log is opened first");
    assert!(!world.path("conmon.pid").exists());
    assert!(!world.path("pidfile").exists());
    monitor.start_pipe().send(b"x");
    assert_eq!(monitor.ended().code(), Some(0));
    assert!(monitor.container() > 1);
}

/// The start pipe's number must be above 0, however it is spelled.
#[rstest]
fn standard_input_is_no_start_pipe(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("", "0", "00", " 0", "-0")] number: &str,
) {
    let world = World::new(subject);
    world.container(&["exit", "3"]);
    let fifo = world.path("stdin");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let _writer = File::options().read(true).write(true).open(&fifo).unwrap();
    let monitor = world.create().with(&["--sync"]).stdin_from(&fifo);
    assert_eq!(monitor.env("_OCI_STARTPIPE", number).start().code(), 3);
}

#[rstest]
fn a_closed_start_pipe_starts_it_too(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = world.create().sync_pipe().start_pipe().start();
    monitor.close_start();
    assert_eq!(monitor.ended().code(), Some(0));
    assert_eq!(monitor.exit_file(), "0");
}

#[rstest]
fn a_start_pipe_that_cannot_be_read_is_refused(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = world.create();
    let write_only = fs::File::options().write(true).open("/dev/null").unwrap();
    let number = monitor.inherit(write_only.into());
    let launched = monitor.env("_OCI_STARTPIPE", number.to_string()).start().launched();
    assert_eq!((launched.status, launched.stdout.as_str()), (Some(1), ""));
    assert_eq!(launched.stderr, "[conmon:e]: start-pipe read failed Bad file descriptor\n");
    assert!(!world.path("pidfile").exists());
}

/// Rules 1 and 7 of callers.
#[rstest]
fn has_written_its_pid_file_when_the_first_process_ends(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    fs::write(world.path("conmon.pid"), "an older and longer text").unwrap();
    fs::set_permissions(world.path("conmon.pid"), PermissionsExt::from_mode(0o600)).unwrap();
    let mut monitor = world.create().sync_pipe().start();
    assert_eq!(monitor.ended().code(), Some(0));
    let text = fs::read_to_string(world.path("conmon.pid")).unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    assert!(alive(text.parse().unwrap()));
    assert_eq!(mode(&world, "conmon.pid"), 0o644);
}

#[rstest]
fn stays_in_the_foreground_and_writes_no_pid_file_with_sync(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "7"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), 7);
    assert!(!world.path("conmon.pid").exists());
}

/// Rule 10 of callers, and steps 11 to 13.
#[rstest]
fn is_a_daemon_of_its_own(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let mut monitor = world.create().sync_pipe().env("FOO", "bar baz").start();
    monitor.ended();
    let container = monitor.container();
    let pid = monitor.pid();
    let process = stat(pid).unwrap();
    assert_eq!(process[3], pid.to_string(), "leads a session");
    assert_eq!(stat(container).unwrap()[1], pid.to_string(), "is the container's parent");
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"));
    }
    assert_eq!(status(pid, "Name"), "conmon");
    let cmdline = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(cmdline.contains(&format!("-c\0{CID}\0-u\0")), "{cmdline:?}");
    let environ = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environ.split('\0').any(|variable| variable == "FOO=bar baz"));
    let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(directory, fs::canonicalize(world.path(".")).unwrap());
}

/// Rule 6 of callers: whoever reads the caller's pipes must see their end.
#[rstest]
fn keeps_nothing_of_its_callers_output(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let mut monitor = world.create().sync_pipe().start();
    monitor.ended();
    monitor.container();
    let output = world.text("std");
    let held = crate::facts::descriptors(monitor.pid());
    assert!(!held.iter().any(|(_, target)| target.starts_with(&output)), "{held:?}");
}

#[rstest]
fn ignores_broken_pipes_and_lets_runtime_and_container_ignore_them(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    world.record_runtime();
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    assert_ne!(signal_mask(monitor.pid(), "SigIgn") & SIGPIPE_BIT, 0);
    assert_eq!(signal_mask(container, "SigIgn"), SIGPIPE_BIT);
    assert_eq!(signal_mask(container, "SigBlk"), 0);
    let call = world.record("calls");
    assert_eq!(parse_mask(call["sig_ignored"].as_str().unwrap()), SIGPIPE_BIT);
    assert_eq!(parse_mask(call["sig_blocked"].as_str().unwrap()), 0);
}

/// What it prints about itself is for its reader: one that has gone ends it, as it ends any program
/// whose caller has not had that ignored.
#[rstest]
fn help_and_version_for_a_reader_that_has_gone(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("--help", "--version")] option: &str,
    #[values("", "trap '' PIPE;")] ignored: &str,
) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let status = Command::new("sh")
        .args(["-c", &format!("{ignored} exec \"$0\" \"$@\"")])
        .args([subject.path().as_os_str(), option.as_ref()])
        .stdout(writer)
        .status()
        .unwrap();
    let expected = if ignored.is_empty() { (None, Some(libc::SIGPIPE)) } else { (Some(0), None) };
    assert_eq!((status.code(), status.signal()), expected);
}

/// docs/reference-notes.md: releases before 2.1.8 keep the caller's mask.
#[rstest]
#[case::reference(Reference, "0077")]
#[case::candidate(Candidate, "0022")]
fn sets_the_umask(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    world.record_runtime();
    let mut monitor = world.create().sync_pipe().umask(0o077).start();
    monitor.ended();
    assert_eq!(world.record("calls")["umask"], expected);
}

/// F5: the original's daemon goes on although its caller was told that it failed.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn an_unwritable_pid_file_ends_the_launch(#[case] subject: Subject, #[case] runs: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "3"]);
    let path = world.text("missing/conmon.pid");
    let mut monitor = world.create().without("-P").with(&["-P", &path]).sync_pipe().start();
    let launched = monitor.launched();
    assert_eq!((launched.status, launched.stdout.as_str()), (Some(1), ""));
    let text = "[conmon:e]: Failed to write conmon pidfile: Failed to create file";
    assert!(launched.stderr.starts_with(text), "{:?}", launched.stderr);
    if runs {
        assert_eq!(monitor.exit_file(), "3");
    } else {
        await_fact("the daemon's end", || world.processes().is_empty().then_some(()));
        assert!(!world.path("exits").join(CID).exists());
    }
}

/// LIFE-2, where the kernel lets us: the monitor is the last to be killed.
#[rstest]
fn lowers_its_own_oom_score(#[values(Reference, Candidate)] subject: Subject) {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let own = i32::try_from(std::process::id()).unwrap();
    let may = u64::from_str_radix(&status(own, "CapEff"), 16).unwrap() & CAP_SYS_RESOURCE != 0;
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let monitor = world.create().oom_score_adj(300).sync_pipe().start();
    monitor.container();
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", monitor.pid())).unwrap();
    assert_eq!(score, if may { "-1000\n" } else { "300\n" });
}

/// Step 20: until the runtime has them, the monitor keeps the caller's descriptors.
#[rstest]
fn lets_go_of_passed_through_descriptors(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    let monitor = world.create().without("-l").with(&["-l", "passthrough"]).sync_pipe().start();
    monitor.container();
    let held = crate::facts::descriptors(monitor.pid());
    let standard: Vec<&str> = held.iter().take(3).map(|(_, target)| target.as_str()).collect();
    assert_eq!(standard, ["/dev/null"; 3]);
    for name in ["attach", "ctl", "winsz"] {
        assert!(!world.path("bundle").join(name).exists(), "{name}");
    }
}

/// CMD-10. docs/reference-notes.md: 2.1.6 leaves the link behind.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn the_link_to_the_attach_socket_stays(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["wait-file", &go, "exit", "0"]);
    let monitor = world.create().without_flag("--full-attach").with(&["--sync"]);
    let sockets = world.text("sockets");
    let mut monitor = monitor.with(&["--socket-dir-path", &sockets]).sync_pipe().start();
    monitor.container();
    let link = world.path("sockets").join(CID);
    assert_eq!(fs::read_link(&link).unwrap(), world.path("bundle"));
    assert!(link.join("attach").exists());
    fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 0);
    assert_eq!(link.symlink_metadata().is_ok(), expected);
    assert!(!world.path("bundle/attach").exists());
}
