//! The payload does what its help says: other tests rely on it.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use rstest::rstest;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CONMON_COMPAT_PAYLOAD"))
        .args(arguments)
        .env_clear()
        .env("NAME", "value")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever reads no input may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[rstest]
#[case::text(&["say", "a", "print", "b"], "a\nb", "", 0)]
#[case::error_text(&["say-err", "a", "print-err", "b", "raw-err", "6300"], "", "a\nbc\0", 0)]
#[case::bytes(&["raw", "41420a", "print-bytes", "3", "x"], "AB\nxxx", "", 0)]
#[case::lines(&["lines", "3", "5"], "0123\n0123\n0123\n", "", 0)]
#[case::numbered(&["numbered", "2", "5"], "1...\n2...\n", "", 0)]
#[case::split(&["write-split", "abcde", "2"], "abcde", "", 0)]
#[case::status(&["exit", "7", "say", "not reached"], "", "", 7)]
#[case::environment(&["env", "NAME", "env", "NONE"], "NAME=value\nNONE unset\n", "", 0)]
#[case::reading(&["read-line", "echo-until-eof"], "got one\ntwo\n", "", 0)]
#[case::counting(&["count-stdin"], "read 8 bytes sum 460998\n", "", 0)]
#[case::end_of_input(&["count-stdin", "read-line"], "read 8 bytes sum 460998\neof\n", "", 0)]
#[case::no_terminal(&["isatty"], "notty notty notty\n", "", 0)]
#[case::child(&["fork", "exit", "4", "end", "say", "parent"], "parent\n", "", 0)]
#[case::nested_child(&["fork", "fork", "end", "end", "say", "p"], "p\n", "", 0)]
#[case::signals(
    &["trap", "USR1", "caught", "kill-self", "USR1", "wait-signal", "ignore", "TERM",
      "kill-self", "TERM", "say", "alive"],
    "caught\nalive\n", "", 0
)]
#[case::closed(&["close", "1", "say", "lost"], "", "payload: write: Bad file descriptor (os error 9)\n", 125)]
#[case::unknown(&["jump"], "", "payload: unknown verb jump\n", 125)]
#[case::missing(&["exit"], "", "payload: exit needs a status\n", 125)]
#[case::senseless(&["raw", "4"], "", "payload: bad hex 4\n", 125)]
fn verbs(
    #[case] arguments: &[&str],
    #[case] stdout: &str,
    #[case] stderr: &str,
    #[case] status: i32,
) {
    let output = run(arguments, b"one\ntwo\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), stderr);
    assert_eq!(output.status.code(), Some(status));
}

#[test]
fn dies_of_its_own_signal() {
    assert_eq!(run(&["kill-self", "KILL"], b"").status.signal(), Some(9));
}

#[test]
fn large_outputs_are_complete() {
    assert_eq!(
        run(&["lines", "30000", "100", "print-bytes", "70001", "x"], b"").stdout.len(),
        3_070_001
    );
}

/// Starts to wait for `file` of a directory, in which others come and go, and does `then` meanwhile.
fn waits_for_file(then: impl Fn(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let mut child = Command::new(env!("CONMON_COMPAT_PAYLOAD"))
        .args(["say", "up", "wait-file"])
        .arg(place.join("file"))
        .args(["say", "there", "exit", "4"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for number in 0..300 {
        fs::write(place.join(format!("files{number}")), "").unwrap();
        fs::remove_file(place.join(format!("files{number}"))).unwrap();
    }
    assert!(child.try_wait().unwrap().is_none());
    then(&place);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout, output.status.code()), (b"up\nthere\n".to_vec(), Some(4)));
}

#[test]
fn waits_for_a_file_however_it_comes() {
    waits_for_file(|place| fs::write(place.join("file"), "").unwrap());
    waits_for_file(|place| fs::create_dir(place.join("file")).unwrap());
    waits_for_file(|place| {
        fs::write(place.join("../other"), "").unwrap();
        fs::rename(place.join("../other"), place.join("file")).unwrap();
    });
    waits_for_file(|place| fs::remove_dir(place).unwrap());
    waits_for_file(|place| fs::rename(place, place.with_file_name("away")).unwrap());
    for there in ["/", "/dev/null", "/nowhere/file", "Cargo.toml"] {
        assert_eq!(run(&["wait-file", there, "say", "there"], b"").stdout, b"there\n");
    }
}

/// The point of the static build: a root file system with nothing in it.
#[test]
fn the_static_one_needs_no_files() {
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(env!("CONMON_COMPAT_PAYLOAD"), root.path().join("payload")).unwrap();
    let output =
        Command::new("chroot").arg(root.path()).args(["/payload", "pwd"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/\n");
}

#[test]
fn without_verbs_it_prints_them_and_in_a_container_it_does_nothing() {
    use std::os::unix::process::CommandExt;
    assert_eq!(run(&[], b"").stdout, run(&["help"], b"").stdout);
    let quiet = Command::new(env!("CONMON_COMPAT_PAYLOAD")).arg0("/payload").output().unwrap();
    assert!(quiet.status.success() && quiet.stdout.is_empty(), "{quiet:?}");
}
