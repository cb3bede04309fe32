//! The exit command: when it runs, what it finds, and who waits for it.

use crate::facts::{A_WHILE, await_fact, await_settled, parse_mask, stat, within};
use crate::peer::Received;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::subject::helper;
use crate::sys;
use crate::world::{CID, Monitor, World};
use rstest::rstest;
use std::fs;
use std::time::Duration;

/// A monitor with the recorder as exit command, which gets these further arguments.
fn with_recorder<'w>(world: &'w World, arguments: &[&str]) -> Monitor<'w> {
    let recorder = helper("exit-recorder");
    let directory = world.text("records");
    let mut monitor = world.create().with(&["--exit-command", &recorder]);
    for argument in [directory.as_str()].iter().chain(arguments) {
        monitor = monitor.with(&["--exit-command-arg", argument]);
    }
    monitor
}

#[rstest]
fn is_called_with_its_arguments_and_the_monitors_environment(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = with_recorder(&world, &["--exit", "0"]).env("FOO", "bar").sync_pipe().start();
    monitor.await_end();
    let record = world.record("records");
    let recorder = helper("exit-recorder");
    let expected = [&recorder, &world.text("records"), "--exit", "0"];
    assert_eq!(record["argv"], serde_json::json!(expected));
    let environment = record["env"].as_array().unwrap();
    for variable in ["FOO=bar", "_OCI_SYNCPIPE=200"] {
        assert!(environment.iter().any(|word| word == variable), "{variable}");
    }
    assert_eq!(record["fds"], serde_json::json!([]));
    for fd in 0..3 {
        assert_eq!(record["stdio"][fd]["kind"], "null");
    }
    assert_eq!(record["cwd"], fs::canonicalize(world.path(".")).unwrap().to_str().unwrap());
    assert_eq!(record["pdeathsig"], 0);
}

/// Rule 5 of callers.
#[rstest]
fn runs_when_the_exit_files_are_there(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let exit_file = world.path("exits").join(CID).to_str().unwrap().to_owned();
    let paths = [&exit_file, &world.text("persist/exit"), &world.text("bundle/attach")];
    let asked = paths.map(String::as_str).join(":");
    let mut monitor = with_recorder(&world, &[]).env("CONMON_COMPAT_EXISTS", asked).start();
    monitor.await_end();
    let exists = &world.record("records")["exists"];
    assert_eq!(paths.map(|path| exists[path].as_bool()), [Some(true), Some(true), Some(false)]);
}

/// F2: the original hands on blocked SIGCHLD and SIGUSR1, and SIGPIPE ignored.
#[rstest]
#[case::reference(Reference, 0x10200, 0x1000)]
#[case::candidate(Candidate, 0, 0)]
fn finds_signals(#[case] subject: Subject, #[case] blocked: u64, #[case] ignored: u64) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    let mut monitor = with_recorder(&world, &[]).start();
    monitor.await_end();
    let record = world.record("records");
    assert_eq!(parse_mask(record["sig_blocked"].as_str().unwrap()), blocked);
    assert_eq!(parse_mask(record["sig_ignored"].as_str().unwrap()), ignored);
}

/// A shell starts what it runs in the background with SIGINT and SIGQUIT ignored.
#[rstest]
fn can_be_interrupted(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let signals = [libc::SIGINT, libc::SIGQUIT];
    let mut monitor = with_recorder(&world, &[]).ignoring(&signals).start();
    monitor.await_end();
    let ignored = parse_mask(world.record("records")["sig_ignored"].as_str().unwrap());
    assert_eq!(signals.map(|signal| ignored >> (signal - 1) & 1), [0, 0]);
}

#[rstest]
fn is_waited_for_and_its_status_ignored(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "4"]);
    let go = world.text("go");
    let mut monitor = with_recorder(&world, &["--sleep-until-file", &go, "--exit", "9"])
        .with(&["--sync"])
        .start();
    world.record("records");
    assert_eq!(monitor.ended_within(A_WHILE / 3), None);
    fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 4);
}

/// Section 6 of lifecycle: the stream ends when the exit command starts, not before.
#[rstest]
fn begins_when_the_sync_pipe_ends(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let (go, never) = (world.text("go"), world.text("never"));
    world.container(&["wait-file", &go, "exit", "0"]);
    let monitor = with_recorder(&world, &["--sleep-until-file", &never]).sync_pipe().start();
    monitor.container();
    assert_eq!(monitor.sync().receive_within(A_WHILE / 5), None);
    fs::write(go, "").unwrap();
    assert_eq!(monitor.sync().receive(), Received::End);
    assert_eq!(monitor.exit_file(), "0");
}

#[rstest]
fn is_delayed_but_the_exit_file_is_not(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = with_recorder(&world, &[]).with(&["--exit-delay", "1"]).start();
    monitor.await_end();
    world.record("records");
    let exit = world.written(&format!("exits/{CID}"));
    let record = world.written("records");
    assert!(record.duration_since(exit).unwrap() >= Duration::from_millis(990));
}

/// F22: the original's child dies of the signal's handler, so to speak: it stops sleeping.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn a_signal_to_the_waiting_child_keeps_the_delay(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    let mut monitor = with_recorder(&world, &[]).with(&["--exit-delay", "4"]).sync_pipe().start();
    monitor.ended();
    let pid = monitor.pid();
    monitor.exit_file();
    assert_eq!(monitor.sync().rest().lines().count(), 1);
    // A monitor that waits itself has no child, which the deadline allows for.
    let child = within(A_WHILE, || {
        let is_child = |p: &i32| stat(*p).is_some_and(|fields| fields[1] == pid.to_string());
        world.processes().into_iter().find(is_child)
    });
    for process in [pid].into_iter().chain(child) {
        await_settled(process);
        sys::kill(process, libc::SIGTERM).unwrap();
    }
    monitor.await_end();
    world.record("records");
    let waited = world.written("records").duration_since(world.written(&format!("exits/{CID}")));
    assert_eq!(waited.unwrap() >= Duration::from_millis(3990), expected);
}

/// A10: the original waits for every process that was left to it.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn is_all_that_is_waited_for(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["fork-holder", &world.text("never"), "exit", "4"]);
    let mut monitor = with_recorder(&world, &[]).with(&["--sync"]).start();
    world.record("records");
    if expected {
        assert_eq!(monitor.code(), 4);
    } else {
        assert_eq!(monitor.ended_within(A_WHILE), None);
    }
}

#[rstest]
fn runs_after_a_failed_create(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.script(&[], &[&["stderr", "no"], &["exit", "1"]]);
    let mut monitor = with_recorder(&world, &[]).with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.sync().report().unwrap(), "{\"data\": -1, \"message\": \"no\"}\n");
    world.record("records");
    assert_eq!(monitor.code(), 1);
}

#[rstest]
fn does_not_run_when_the_runtime_was_not_called(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    fs::remove_dir(world.path("bundle")).unwrap();
    let mut monitor = with_recorder(&world, &[]).with(&["--sync"]).start();
    assert_eq!(monitor.code(), 1);
    assert!(!world.path("records").exists());
}

#[rstest]
fn a_missing_one_does_not_matter(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "4"]);
    let mut monitor = world.create().with(&["--exit-command", "/missing", "--sync"]).start();
    assert_eq!(monitor.code(), 4);
    assert_eq!(monitor.exit_file(), "4");
}

#[rstest]
fn signals_to_the_monitor_meanwhile_change_nothing(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "4"]);
    let go = world.text("go");
    let mut monitor = with_recorder(&world, &["--sleep-until-file", &go]).with(&["--sync"]).start();
    world.record("records");
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        sys::kill(monitor.pid(), number).unwrap();
    }
    assert_eq!(monitor.ended_within(A_WHILE / 3), None);
    fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 4);
}

/// The container's leftovers are reaped as they end, so no zombies gather.
#[rstest]
fn leftovers_are_reaped_while_it_runs(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let (go, end) = (world.text("go"), world.text("end"));
    world.container(&["fork-holder", &end, "exit", "4"]);
    let mut monitor = with_recorder(&world, &["--sleep-until-file", &go]).with(&["--sync"]).start();
    world.record("records");
    let pid = monitor.pid().to_string();
    let children = || {
        let mine = |p: &i32| stat(*p).is_some_and(|fields| fields[1] == pid);
        crate::facts::processes().into_iter().filter(mine).count()
    };
    await_fact("both children", || (children() == 2).then_some(()));
    fs::write(end, "").unwrap();
    await_fact("the leftover's end", || (children() == 1).then_some(()));
    fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 4);
}
