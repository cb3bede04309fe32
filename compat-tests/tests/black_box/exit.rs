//! The end of the container: its status, the exit files, what is left and what is not.

use crate::facts::{A_WHILE, await_fact, patience};
use crate::peer::{Peer, Received};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::subject::helper;
use crate::world::{CID, World};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[rstest]
#[case::success(&["exit", "0"], "0", 0)]
#[case::failure(&["exit", "1"], "1", 1)]
#[case::highest(&["exit", "255"], "255", 255)]
#[case::like_a_signal(&["exit", "137"], "137", 137)]
#[case::killed(&["kill-self", "KILL"], "137", 137)]
#[case::terminated(&["kill-self", "TERM"], "143", 143)]
#[case::crashed(&["kill-self", "SEGV"], "139", 139)]
#[case::real_time_signal(&["kill-self", "64"], "192", 192)]
fn status_is_what_a_shell_would_report(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] verbs: &[&str],
    #[case] text: &str,
    #[case] code: i32,
) {
    let world = World::new(subject);
    world.container(verbs);
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), code);
    assert_eq!(monitor.exit_file(), text);
    assert_eq!(fs::read_to_string(world.path("persist/exit")).unwrap(), text);
}

/// Rules 2 and 3 of callers.
#[rstest]
fn exit_files_appear_at_once_and_in_order(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "3"]);
    fs::write(world.path("exits").join(CID), "of an earlier run").unwrap();
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
    for name in ["persist", "exits"] {
        inotify.add_watch(&world.path(name), events).unwrap();
    }
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), 3);
    let seen = inotify.read_events().unwrap();
    let finals: Vec<_> = seen
        .iter()
        .filter(|event| ["exit", CID].iter().any(|name| event.name.as_ref().unwrap() == name))
        .map(|event| (event.name.clone().unwrap().into_string().unwrap(), event.mask))
        .collect();
    let moved = AddWatchFlags::IN_MOVED_TO;
    assert_eq!(finals, [("exit".to_owned(), moved), (CID.to_owned(), moved)]);
    let names: Vec<_> =
        fs::read_dir(world.path("exits")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [CID], "nothing else stays");
    let mode = fs::metadata(world.path("exits").join(CID)).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[rstest]
fn the_last_output_is_in_the_log_before_the_exit_file(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["numbered", "20000", "50", "print", "no newline", "exit", "0"]);
    let monitor = world.create().sync_pipe().start();
    monitor.exit_file();
    let output = world.output("stdout");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 20001);
    assert_eq!(lines[19999], format!("20000{}", ".".repeat(44)));
    assert!(output.ends_with("\nno newline"));
}

/// Rule 4 of callers: a stranger that holds the pipes does not delay the exit file.
#[rstest]
fn does_not_wait_for_the_end_of_the_output(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["fork-holder", &world.text("never"), "say", "done", "exit", "2"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), 2);
    assert_eq!(monitor.exit_file(), "2");
    assert_eq!(world.log(), ["stdout F done"]);
}

#[rstest]
fn removes_the_attach_socket_and_nothing_else(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), 0);
    let bundle = fs::read_dir(world.path("bundle")).unwrap();
    let mut names: Vec<_> = bundle.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ctl", "winsz"]);
    assert!(world.path("pidfile").exists());
}

/// D8: the original leaves it on every failure.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn a_failed_create_leaves_the_attach_socket(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.script(&[], &[&["exit", "1"]]);
    let mut monitor = world.create().with(&["--sync"]).start();
    assert_eq!(monitor.code(), 1);
    assert_eq!(world.path("bundle/attach").exists(), expected);
}

/// Step 37: the caller reserves ports with descriptors that must be free at the exit file.
#[rstest]
fn closes_inherited_descriptors_before_the_exit_file(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["wait-file", &go, "exit", "0"]);
    let (ours, theirs) = Peer::pair();
    let mut monitor = world
        .create()
        .with(&["--exit-command", &helper("exit-recorder")])
        .with(&["--exit-command-arg", &world.text("records")])
        .with(&["--exit-command-arg", "--sleep-until-file"])
        .with(&["--exit-command-arg", &world.text("never")])
        .sync_pipe();
    monitor.inherit(theirs);
    let mut monitor = monitor.start();
    monitor.ended();
    monitor.container();
    assert_eq!(ours.receive_within(A_WHILE / 10), None, "open while the container runs");
    fs::write(go, "").unwrap();
    monitor.exit_file();
    assert_eq!(ours.receive_within(std::time::Duration::ZERO), Some(Received::End));
}

#[rstest]
fn an_empty_exit_directory_is_the_working_directory(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "5"]);
    // A directory of that name at the root would be hit otherwise; nobody has one.
    let id = "conmon-black-box-empty-exit-directory";
    let monitor = world.create().with(&["--exit-dir", "", "-c", id, "--sync"]);
    assert_eq!(monitor.current_dir(&world.path("tmp")).start().code(), 5);
    let found = fs::read_to_string(world.path("tmp").join(id));
    let _ = fs::remove_file(Path::new("/").join(id));
    assert_eq!(found.unwrap(), "5");
}

/// F9: the original writes neither file when it cannot write the first.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("5"))]
fn a_lost_persist_directory_costs_one_file(
    #[case] subject: Subject,
    #[case] expected: Option<&str>,
) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "5"]);
    fs::remove_dir(world.path("persist")).unwrap();
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.code();
    assert_eq!(fs::read_to_string(world.path("exits").join(CID)).ok().as_deref(), expected);
}

#[rstest]
fn a_lost_exit_directory_leaves_the_persistent_file(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = World::new(subject);
    world.container(&["exit", "5"]);
    fs::remove_dir(world.path("exits")).unwrap();
    let mut monitor = world.create().with(&["--sync"]).start();
    monitor.code();
    assert_eq!(fs::read_to_string(world.path("persist/exit")).unwrap(), "5");
}

/// A container that ended before the runtime did is no different.
#[rstest]
fn remembers_a_container_that_ends_before_its_runtime(
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
    let mut monitor = world.create().with(&options).with(&["--sync"]).sync_pipe().start();
    assert!(monitor.container() > 1);
    assert_eq!(monitor.code(), 9);
    assert_eq!(monitor.exit_file(), "9");
    assert!(world.output("stdout").starts_with("quick"), "{:?}", world.log());
}

/// F6: what has much memory to give back takes its time to go when it is killed.
#[test]
fn a_container_that_cannot_be_watched_is_gone_when_that_is_told() {
    let world = World::new(Candidate);
    let go = world.text("go");
    let verbs = ["alloc", "300", "touch", &world.text("ready"), "sleep-forever"];
    world.script(&verbs, &[&["container"], &["wait-file", &go]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    crate::facts::await_file(&world.path("ready"));
    let is_container = |pid: &i32| crate::facts::status(*pid, "Name") == "payload";
    let container = world.processes().into_iter().find(is_container).unwrap();
    fs::write(&go, "").unwrap();
    let report = monitor.sync().report().unwrap();
    assert!(report.starts_with("{\"data\": -1"), "{report}");
    assert!(!Path::new(&format!("/proc/{container}")).exists());
    assert_eq!(monitor.code(), 1);
}

/// A7: the original ends at once (2.1.6) or never (2.2), and makes up a status.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn a_container_that_is_not_a_child_is_given_up(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let mut foreign = std::process::Command::new(helper("payload"))
        .args(["wait-file", &world.text("go"), "exit", "3"])
        .spawn()
        .unwrap();
    world.script(&[], &[&["pid-file", &foreign.id().to_string()]]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    assert_eq!(monitor.container(), i32::try_from(foreign.id()).unwrap());
    let ended = monitor.ended_within(patience(expected)).is_some();
    fs::write(world.path("go"), "").unwrap();
    foreign.wait().unwrap();
    assert_eq!(ended, expected);
    monitor.ended();
    // Not ours to reap, so its status may be beyond reach; it is not 0 in any case.
    assert_ne!(monitor.exit_file(), "0");
}

/// The same with a process between: the monitor has a child, but not this one.
#[rstest]
fn the_end_of_a_grandchild_is_noticed(#[values(Reference, Candidate)] subject: Subject) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let script = World::table(&["wait-file", &world.text("go"), "exit", "3"], &[]);
    world.write_script(&format!("parent = \"intermediate\"\n{script}"));
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    let container = monitor.container();
    assert_eq!(monitor.ended_within(A_WHILE), None);
    fs::write(world.path("go"), "").unwrap();
    await_fact("the container's end", || (!crate::facts::alive(container)).then_some(()));
    monitor.ended();
    assert!(["3", "-1"].contains(&monitor.exit_file().as_str()));
}
