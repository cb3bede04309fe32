//! The room as a whole, through real files, FIFOs and sockets.

mod full_disk;
mod journald;
mod k8s_file;
mod opening;
mod properties;
mod renewal;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::*;
use crate::diagnostics::Level;

const CID: &str = "0123456789abcdef";

/// Says nothing; what is said is tested in processes of their own.
fn quiet() -> Diagnostics {
    let diag = Diagnostics::new(Level::Error, None);
    diag.leave_stderr();
    diag
}

/// Waits for what follows from a closed descriptor: a process that another test is starting
/// may hold it for a moment.
#[track_caller]
fn soon(what: &str, mut fact: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(std::time::Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

fn to_file(path: &Path) -> LogConfig {
    LogConfig {
        k8s_file: Some(path.to_path_buf()),
        k8s_file_count: 1,
        max_files: 1,
        sync: true,
        ..LogConfig::default()
    }
}

#[track_caller]
fn open(config: &LogConfig) -> Log {
    Log::open(config, OsStr::new(CID), &quiet()).unwrap()
}

/// The records of a k8s-file without their times: stream, tag and content.
#[track_caller]
fn records(path: &Path) -> Vec<(String, char, Vec<u8>)> {
    parse(&std::fs::read(path).unwrap()).into_iter().map(|(_, rest)| rest).collect()
}

type Record = (String, char, Vec<u8>);

/// The records in `bytes`, each with its time; anything that is no record fails the test.
#[track_caller]
fn parse(bytes: &[u8]) -> Vec<(String, Record)> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "{}", String::from_utf8_lossy(bytes));
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            let shown = String::from_utf8_lossy(line);
            assert!(line.len() >= 46, "too short: {shown:?}");
            let (head, content) = line.split_at(45);
            let head = std::str::from_utf8(head).unwrap_or_else(|_| panic!("no head: {shown:?}"));
            let digits_blanked: String =
                head.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            let (time, rest) = digits_blanked.split_at(36);
            let time = time.replacen("-00:00 ", "+00:00 ", 1);
            assert_eq!(time, "0000-00-00T00:00:00.000000000+00:00 ", "{shown:?}");
            assert!([" F ", " P "].contains(&&rest[6..]), "{shown:?}");
            let (stream, tag) = (rest[..6].to_string(), rest.as_bytes()[7] as char);
            (head[..35].to_string(), (stream, tag, content[..content.len() - 1].to_vec()))
        })
        .collect()
}

/// Output with lines of all lengths, among them very long ones, and no newline at its end.
fn varied_output(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut output = Vec::new();
    while output.len() < bytes {
        let length = match next() % 5 {
            0 => 0,
            1 => next() % 20,
            2 => next() % 200,
            3 => next() % 1500,
            _ => next() % 20_000,
        };
        output.extend((0..length).map(|_| b' ' + (next() % 95) as u8));
        output.push(b'\n');
    }
    output.truncate(bytes - 1);
    output.push(b'x');
    output
}

/// Runs an ignored test of this program in a process of its own, below `wrapper`.
fn run_alone(wrapper: &[&str], test: &str, directory: &Path) -> Output {
    let own = [test, "--exact", "--ignored", "--nocapture"];
    let program = crate::sys::process::this_program();
    let mut words = wrapper.iter().map(Into::into).chain(program);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(own).env("TEST_DIRECTORY", directory).output().unwrap()
}

/// What a test that runs alone said on stderr; it must have passed.
#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    let out = String::from_utf8_lossy(out);
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    err
}

/// The directory for a test that was started by `run_alone`.
fn own_directory() -> PathBuf {
    PathBuf::from(std::env::var_os("TEST_DIRECTORY").unwrap())
}
