//! A file system that is full: whole records stay, whole records go, and both are counted.
//!
//! Most tests limit the size of files instead (RLIMIT_FSIZE), which cuts writes short at the
//! same place on every host; one fills a real file system.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

#[path = "../../../compat-tests/tests/common/skip.rs"]
mod skip;

/// No file may grow beyond `bytes`; a write that would is cut short, the next one fails.
fn limit_files_to(bytes: rlim_t) {
    // Blocked, so that only the error is left of it.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes, hard).unwrap();
}

fn lift_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
}

fn loud() -> Diagnostics {
    Diagnostics::new(Level::Warning, None)
}

const STARTS: &str = "[conmon:w]: failed to flush buffer to log, dropping lines: File too large\n";

/// Each line makes a record of 50 bytes.
const FIVE: &[u8] = b"one.\ntwo.\nthre\nfour\nfive\n";

fn texts(path: &Path) -> Vec<String> {
    let texts = records(path).into_iter().map(|(_, _, text)| String::from_utf8(text).unwrap());
    texts.collect()
}

#[test]
fn keeps_whole_records_and_counts_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::full_disk::fills_a_file_and_makes_room";
    let ends = "[conmon:w]: log is writable again: 4 lines (20 bytes) were dropped\n";
    assert_eq!(said(&run_alone(&[], test, dir.path())), format!("{STARTS}{ends}"));
    assert_eq!(texts(&dir.path().join("log")), ["one.", "two.", "thre", "room", "more"]);
}

#[test]
#[ignore = "run by keeps_whole_records_and_counts_the_others"]
fn fills_a_file_and_makes_room() {
    let path = own_directory().join("log");
    let diag = loud();
    let mut log = Log::open(&to_file(&path), OsStr::new(CID), &diag).unwrap();
    limit_files_to(3 * 50 + 49);
    log.write(Stream::Stdout, FIVE, &diag);
    assert_eq!(fs::metadata(&path).unwrap().len(), 150, "the torn record was left");
    log.write(Stream::Stdout, b"lost\nlost\n", &diag);
    assert_eq!(fs::metadata(&path).unwrap().len(), 150);
    lift_limit();
    log.write(Stream::Stdout, b"room\n", &diag);
    log.write(Stream::Stdout, b"more\n", &diag);
    log.drop_waiting(&diag);
}

#[test]
fn says_at_the_end_what_was_dropped_last() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::full_disk::fills_a_file_for_good";
    let ends = "[conmon:w]: log not writable to the end: 5 lines (24590 bytes) were dropped\n";
    assert_eq!(said(&run_alone(&[], test, dir.path())), format!("{STARTS}{ends}"));
    assert_eq!(texts(&dir.path().join("log")), ["one.", "two.", "thre", "four"]);
}

#[test]
#[ignore = "run by says_at_the_end_what_was_dropped_last"]
fn fills_a_file_for_good() {
    let path = own_directory().join("log");
    let diag = loud();
    let mut log = Log::open(&to_file(&path), OsStr::new(CID), &diag).unwrap();
    limit_files_to(200);
    log.write(Stream::Stdout, FIVE, &diag);
    // A line without an end: four chunks.
    log.write(Stream::Stderr, &[b'x'; 2 * 8192], &diag);
    log.write(Stream::Stderr, &[b'x'; 8201], &diag);
    log.drop_waiting(&diag);
}

/// One has all in it, the other more than it holds: both are lost without a reader.
#[test]
fn says_what_is_lost_in_a_fifo_that_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::full_disk::fills_fifos_that_nobody_reads";
    let unread = "[conmon:w]: log not read to the end: ";
    let expected = format!(
        "{unread}250 bytes were dropped\n\
         [conmon:w]: log not writable to the end: 1 lines (4140 bytes) were dropped\n\
         {unread}4096 bytes were dropped\n"
    );
    assert_eq!(said(&run_alone(&[], test, dir.path())), expected);
}

#[test]
#[ignore = "run by says_what_is_lost_in_a_fifo_that_nobody_reads"]
fn fills_fifos_that_nobody_reads() {
    let diag = loud();
    for (name, text) in [("some", FIVE), ("more", &[b'x'; 8190])] {
        let path = own_directory().join(name);
        mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        let holder = fs::File::options().read(true).write(true).open(&path).unwrap();
        nix::fcntl::fcntl(&holder, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let mut log = Log::open(&to_file(&path), OsStr::new(CID), &diag).unwrap();
        log.write(Stream::Stdout, text, &diag);
        drop(holder);
        log.close_finished(&diag);
        assert_eq!(log.awaits_reader(), name == "some");
        log.drop_waiting(&diag);
        assert!(!log.awaits_reader() && !log.is_blocked());
    }
}

/// A FIFO whose reader leaves is the one case where a torn record cannot be cut off.
#[test]
fn ends_a_torn_record_that_cannot_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    let reader = || {
        let mut options = fs::File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let first = reader();
    let mut log = open(&to_file(&path));
    log.write(Stream::Stdout, &[b'x'; 65_536], &quiet());
    log.write(Stream::Stdout, &[b'y'; 65_536], &quiet());
    assert!(log.is_blocked());
    drop(first);
    soon("a log that drops what nobody reads", || {
        log.resume(&quiet());
        !log.is_blocked()
    });
    let mut second = reader();
    // The FIFO still holds what it had taken.
    let mut received = vec![0; 1 << 20];
    let count = second.read(&mut received).unwrap();
    received.truncate(count);
    assert!(!received.ends_with(b"\n"), "nothing was torn");
    log.write(Stream::Stdout, b"next\n", &quiet());
    log.write(Stream::Stdout, b"last\n", &quiet());
    drop(log);
    soon("the end of the FIFO", || second.read_to_end(&mut received).is_ok());
    let lines: Vec<&[u8]> = received.split(|byte| *byte == b'\n').collect();
    let [.., torn, next, last, end] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert!(torn.ends_with(b"x"));
    assert!(next.len() == 49 && next.ends_with(b" F next"));
    assert!(last.len() == 49 && last.ends_with(b" F last"));
    assert!(end.is_empty());
}

#[test]
fn the_size_limit_counts_what_was_really_written() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::full_disk::loses_lines_below_the_size_limit";
    said(&run_alone(&[], test, dir.path()));
    assert_eq!(texts(&dir.path().join("log")), ["one.", "aaaa", "bbbb", "cccc"]);
}

#[test]
#[ignore = "run by the_size_limit_counts_what_was_really_written"]
fn loses_lines_below_the_size_limit() {
    let path = own_directory().join("log");
    let diag = loud();
    let config = LogConfig { size_max: Some(250), ..to_file(&path) };
    let mut log = Log::open(&config, OsStr::new(CID), &diag).unwrap();
    limit_files_to(70);
    log.write(Stream::Stdout, FIVE, &diag);
    // More than the limit in one go.
    log.write(Stream::Stdout, &FIVE.repeat(3), &diag);
    lift_limit();
    log.write(Stream::Stdout, b"aaaa\nbbbb\ncccc\n", &diag);
}

#[test]
fn backups_are_not_given_up_for_what_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::full_disk::loses_lines_over_the_size_limit";
    said(&run_alone(&[], test, dir.path()));
    assert_eq!(texts(&dir.path().join("log.1")), ["five"]);
    assert_eq!(texts(&dir.path().join("log.2")), ["thre", "four"]);
}

#[test]
#[ignore = "run by backups_are_not_given_up_for_what_cannot_be_written"]
fn loses_lines_over_the_size_limit() {
    let path = own_directory().join("log");
    let diag = loud();
    let config = LogConfig { size_max: Some(100), rotate: true, max_files: 2, ..to_file(&path) };
    let mut log = Log::open(&config, OsStr::new(CID), &diag).unwrap();
    log.write(Stream::Stdout, FIVE, &diag);
    limit_files_to(0);
    log.write(Stream::Stdout, &[b'x'; 8192], &diag);
    log.write(Stream::Stdout, FIVE, &diag);
    log.write(Stream::Stdout, &[b'x'; 8192], &diag);
}

/// `mount` needs privileges that not every host grants, not even to root.
const MOUNT: &str = "mount -t tmpfs -o size=64k tmpfs \"$TEST_DIRECTORY\"";

#[test]
fn survives_a_full_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let probe = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", MOUNT])
        .env("TEST_DIRECTORY", dir.path())
        .output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        skip::skipped(&format!("no private tmpfs can be mounted here: {probe:?}"));
        return;
    }
    let script = format!("{MOUNT} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--mount", "sh", "-c", &script];
    let test = "log::tests::full_disk::fills_a_file_system_and_makes_room";
    let said = said(&run_alone(&wrapper, test, dir.path()));
    let reason = "No space left on device";
    let starts = format!("failed to flush buffer to log, dropping lines: {reason}\n");
    assert_eq!(said.matches(&starts).count(), 1, "{said}");
    assert_eq!(said.matches("log is writable again: ").count(), 1, "{said}");
}

#[test]
#[ignore = "run by survives_a_full_file_system"]
fn fills_a_file_system_and_makes_room() {
    let directory = own_directory();
    let (path, ballast) = (directory.join("log"), directory.join("ballast"));
    let diag = loud();
    let mut log = Log::open(&to_file(&path), OsStr::new(CID), &diag).unwrap();
    fs::File::create(&ballast).unwrap().write_all(&[0; 32 * 1024]).unwrap();
    // More than fits in one go, so that the disk is full in mid-write.
    log.write(Stream::Stdout, &b"0123456789abcde\n".repeat(3000), &diag);
    let full = records(&path);
    assert!(full.len() > 100, "{} records", full.len());
    fs::remove_file(&ballast).unwrap();
    log.write(Stream::Stdout, b"room\n", &diag);
    let after = records(&path);
    assert_eq!(after.len(), full.len() + 1);
    assert_eq!(after.last().unwrap().2, b"room");
    assert!(full.iter().all(|(_, tag, text)| *tag == 'F' && text == b"0123456789abcde"));
}
