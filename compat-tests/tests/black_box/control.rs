//! The control FIFOs.

use crate::facts::{A_WHILE, alive, await_fact, await_settled, patience, within};
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{CID, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The size a container sees after these writes, each `FIFO:TEXT`.
fn size_after(world: &World, writes: &[&str]) -> String {
    let go = world.text("go");
    world.container(&["say", "ready", "wait-file", &go, "winsize"]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    monitor.await_log("ready");
    for write in writes {
        let (fifo, text) = write.split_once(':').unwrap();
        world.write_fifo(fifo, text.as_bytes());
        await_settled(monitor.pid());
    }
    fs::write(go, "").unwrap();
    assert_eq!(monitor.code(), 0);
    world.output("stdout").lines().last().unwrap().to_owned()
}

#[rstest]
#[case::plain(&["ctl:1 10 20\n"], "10 20")]
#[case::direct(&["winsz:10 20\n"], "10 20")]
#[case::in_parts(&["ctl:1 10", "ctl: 20\n"], "10 20")]
#[case::words_after_it(&["ctl:1 10 20 junk\n"], "10 20")]
#[case::carriage_return(&["ctl:1 10 20\r\n"], "10 20")]
#[case::later_ones_win(&["ctl:1 10 20\n", "ctl:1 30 40\n"], "30 40")]
#[case::without_newline(&["ctl:1 10 20"], "0 0")]
#[case::unknown_type(&["ctl:3 10 20\n"], "0 0")]
#[case::nonsense(&["ctl:abc\n", "ctl:1 10 20\n"], "10 20")]
#[case::hexadecimal(&["ctl:1 0x10 20\n"], "0 0")]
fn sizes(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] writes: &[&str],
    #[case] expected: &str,
) {
    assert_eq!(size_after(&World::new(subject), writes), expected);
}

/// docs/differences.md (C), and docs/reference-notes.md for the limits.
#[rstest]
#[case::across_lines_reference(Reference, &["ctl:1\n10\n20\n"], "10 20")]
#[case::across_lines(Candidate, &["ctl:1\n10\n20\n"], "0 0")]
#[case::after_a_rejected_part_reference(
    Reference, &["ctl:1 10", "ctl: abc\n", "ctl:1 10 20\n"], "101 10"
)]
#[case::after_a_rejected_part(Candidate, &["ctl:1 10", "ctl: abc\n", "ctl:1 10 20\n"], "10 20")]
#[case::behind_a_rejected_line_reference(Reference, &["ctl:abc\n1 10 20\n"], "0 0")]
#[case::behind_a_rejected_line(Candidate, &["ctl:abc\n1 10 20\n"], "10 20")]
#[case::two_in_one_write_reference(Reference, &["ctl:1 10 20\n1 30 40\n"], "10 20")]
#[case::two_in_one_write(Candidate, &["ctl:1 10 20\n1 30 40\n"], "30 40")]
#[case::a_part_of_the_other_fifo_reference(Reference, &["ctl:1 10 20\n1 30", "ctl: 40\n"], "1 3010")]
#[case::a_part_of_the_other_fifo(Candidate, &["ctl:1 10 20\n1 30", "ctl: 40\n"], "30 40")]
#[case::too_large_reference(Reference, &["ctl:1 10 2000\n"], "10 2000")]
#[case::too_large(Candidate, &["ctl:1 10 2000\n"], "0 0")]
fn sizes_differ(#[case] subject: Subject, #[case] writes: &[&str], #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    assert_eq!(size_after(&world, writes), expected);
}

/// How CRI-O rotates: rename, then say so.
#[rstest]
fn a_renamed_log_is_opened_anew(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["say", "one", "wait-file", &go, "say", "two", "exit", "3"]);
    let monitor = world.create().sync_pipe().start();
    monitor.await_log("one");
    fs::rename(world.path("log"), world.path("log.1")).unwrap();
    world.write_fifo("ctl", b"2 0 0\n");
    await_fact("a new log", || world.path("log").exists().then_some(()));
    await_settled(monitor.pid());
    fs::write(go, "").unwrap();
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(world.log(), ["stdout F two"]);
    let old = fs::read_to_string(world.path("log.1")).unwrap();
    assert!(old.ends_with(" stdout F one\n") && old.lines().count() == 1, "{old}");
}

/// Whoever has moved the log away waits for the new one without a limit, also when the container
/// ends meanwhile. Here a journal that takes nothing makes its end last.
#[rstest]
fn a_log_renamed_at_the_end_is_opened_anew() {
    let world = World::new(Candidate);
    fs::create_dir(world.path("journal")).unwrap();
    let _journal = UnixDatagram::bind(world.path("journal/socket")).unwrap();
    world.container(&["lines", "600", "10", "sleep-forever"]);
    let journal = world.path("journal");
    let monitor =
        world.create().with(&["-l", "journald"]).with_journal(&journal).sync_pipe().start();
    monitor.await_log("stdout F");
    let container = monitor.container();
    await_settled(monitor.pid());
    kill(Pid::from_raw(container), Signal::SIGKILL).unwrap();
    let reaped = || (!Path::new(&format!("/proc/{container}")).exists()).then_some(());
    await_fact("the container is reaped", reaped);
    fs::rename(world.path("log"), world.path("log.1")).unwrap();
    world.write_fifo("ctl", b"2 0 0\n");
    assert!(!world.path("exits").join(CID).exists(), "the end was too fast for this test");
    assert_eq!(monitor.exit_file(), "137");
    assert!(world.path("log").exists(), "the log was not opened anew");
}

/// B2: the original ends, and nobody records the container's end.
#[rstest]
#[case::reference(Reference, None)]
#[case::candidate(Candidate, Some("3"))]
fn a_log_that_cannot_be_opened_anew(#[case] subject: Subject, #[case] expected: Option<&str>) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let go = world.text("go");
    world.container(&["say", "one", "wait-file", &go, "say", "two", "exit", "3"]);
    fs::create_dir(world.path("logs")).unwrap();
    let log = format!("k8s-file:{}", world.text("logs/log"));
    let monitor = world.create().without("-l").with(&["-l", &log]).sync_pipe().start();
    monitor.container();
    await_fact("the first line", || {
        (!fs::read(world.path("logs/log")).ok()?.is_empty()).then_some(())
    });
    fs::rename(world.path("logs"), world.path("elsewhere")).unwrap();
    world.write_fifo("ctl", b"2 0 0\n");
    let _ = within(A_WHILE, || (!alive(monitor.pid())).then_some(()));
    fs::write(go, "").unwrap();
    let patience = patience(expected.is_some());
    assert_eq!(monitor.exit_file_within(patience).as_deref(), expected);
}

/// B8: the original writes on at its old place, after a hole.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn a_log_cut_by_another_tool_has_a_hole(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let (go, on) = (world.text("go"), world.text("on"));
    world.container(&[
        "say",
        "one",
        "wait-file",
        &go,
        "say",
        "two",
        "wait-file",
        &on,
        "say",
        "three",
        "exit",
        "3",
    ]);
    let monitor = world.create().sync_pipe().start();
    monitor.await_log("one");
    fs::rename(world.path("log"), world.path("log.1")).unwrap();
    world.write_fifo("ctl", b"2 0 0\n");
    await_fact("a new log", || world.path("log").exists().then_some(()));
    await_settled(monitor.pid());
    fs::write(go, "").unwrap();
    monitor.await_log("two");
    fs::File::options().write(true).open(world.path("log")).unwrap().set_len(0).unwrap();
    fs::write(on, "").unwrap();
    assert_eq!(monitor.exit_file(), "3");
    let log = fs::read(world.path("log")).unwrap();
    assert_eq!(log.contains(&0), expected, "{:?}", String::from_utf8_lossy(&log));
}
