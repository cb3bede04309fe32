//! One function for each entry point of foreign bytes. It is a module of the monitor's crate, in a
//! build for fuzzing alone: there the crate is a library. What must always hold is asserted; the
//! rest is left to crashes.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "as in tests")]

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::diagnostics::{Diagnostics, Level};
use crate::log::lines::Lines;
use crate::log::{Log, journald::Journald};
use crate::stream::Stream;

#[path = "attach.rs"]
mod attach;
pub use attach::attach;

const CID: &str = "0123456789abcdef";

fn quiet() -> Diagnostics {
    let diagnostics = Diagnostics::new(Level::Error, None);
    diagnostics.leave_stderr();
    diagnostics
}

/// A name for this process alone, in memory where there is such a place: a disk's file costs several
/// times what is to be tried.
fn scratch(name: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    directory.join(format!("conmon-fuzz-{}{name}", std::process::id()))
}

/// Reads of container output, between 0xff bytes. The first 0xfe has the byte before it repeated, as many
/// times as 64 times the next byte says, so that a short input reaches the limits of buffers.
fn reads(data: &[u8]) -> Vec<Vec<u8>> {
    let mut reads: Vec<Vec<u8>> = data.split(|byte| *byte == 0xff).map(<[u8]>::to_vec).collect();
    let place = |read: &Vec<u8>| read.iter().position(|byte| *byte == 0xfe);
    if let Some((read, at)) = reads.iter_mut().find_map(|read| place(read).map(|at| (read, at))) {
        if let (Some(before @ 0..=9 | before @ 11..), Some(count)) =
            (at.checked_sub(1).map(|before| read[before]), read.get(at + 1).copied())
        {
            read.splice(at..at + 2, std::iter::repeat_n(before, usize::from(count) * 64));
        }
    }
    reads
}

/// The words of the command line, between NUL bytes.
pub fn command_line(data: &[u8]) {
    let words = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    match crate::cli::parse(std::iter::once("conmon".into()).chain(words)) {
        crate::cli::Outcome::Run(_) => {}
        crate::cli::Outcome::Print(text) | crate::cli::Outcome::Refuse(text) => {
            assert!(!text.is_empty())
        }
    }
}

/// Values of `--log-path`, between NUL bytes.
pub fn log_path(data: &[u8]) {
    let values = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let mut log = crate::config::LogConfig::default();
    let selected = crate::config::log_path::select(values.collect(), &mut log);
    assert_eq!(log.k8s_file.is_some(), log.k8s_file_count > 0);
    assert!(selected.is_ok() || !selected.unwrap_err().sentence().is_empty());
}

/// A line of one of the two FIFOs.
pub fn control_line(data: &[u8]) {
    for kind in [crate::control::Kind::Control, crate::control::Kind::WindowSize] {
        if let Ok(crate::control::Command::Resize { rows, columns }) =
            crate::control::parse(kind, data, &quiet())
        {
            assert!(rows <= 1000 && columns <= 1000);
        }
    }
}

/// A runtime's words on their way to the caller.
pub fn report(data: &[u8]) {
    let json = crate::sync_pipe::render("data", -1, data);
    let text = json.strip_suffix(b"\n").unwrap();
    assert!(text.iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
    // Quotes that no backslash precedes: those of the two words and around the message.
    let mut escaped = false;
    let mut quotes = 0;
    for byte in text {
        quotes += usize::from(*byte == b'"' && !escaped);
        escaped = *byte == b'\\' && !escaped;
    }
    assert!(quotes == 2 || quotes == 6);
}

/// What a container says to the service manager.
pub fn notify_filter(data: &[u8]) {
    let passed = crate::notify::filter(data.to_vec());
    assert!(passed.len() <= data.len());
    assert_eq!(crate::notify::filter(passed.clone()), passed);
}

/// A runtime's pid file.
pub fn pid_file(data: &[u8]) {
    assert!(crate::runtime::pid_file::parse(data).is_none_or(|pid| pid.as_raw() > 0));
}

/// /proc/PID/cgroup.
pub fn cgroup_file(data: &[u8]) {
    for version in [crate::cgroup::Version::V1, crate::cgroup::Version::V2] {
        if let Ok(Some(path)) = crate::cgroup::find(data, version) {
            // By bytes: a table whose path has no slash in front is no kernel's.
            assert!(path.into_os_string().into_vec().starts_with(b"/sys/fs/cgroup"));
        }
    }
}

/// A chunk of output, cut into lines.
pub fn lines(data: &[u8]) {
    let mut end = 0;
    for line in Lines::new(data) {
        assert_eq!(line.start, end);
        assert!(line.end > line.start);
        end = line.end;
        let text = &data[line.start..line.end];
        assert_eq!(
            text.iter().position(|byte| *byte == b'\n'),
            line.ended.then_some(text.len() - 1)
        );
    }
    assert_eq!(end, data.len());
}

/// Reads of both streams, with limits and rotation; the first bytes choose.
pub fn k8s_file(data: &[u8]) {
    thread_local! {
        static DIRECTORY: PathBuf = {
            let directory = scratch("");
            std::fs::create_dir_all(&directory).unwrap();
            directory
        };
    }
    let [limit, rest @ ..] = data else { return };
    let path = DIRECTORY.with(|directory| directory.join("log"));
    let _ = std::fs::remove_file(&path);
    let config = crate::config::LogConfig {
        k8s_file: Some(path.clone()),
        k8s_file_count: 1,
        size_max: (*limit > 127).then(|| u64::from(*limit) * 4),
        ..crate::config::LogConfig::default()
    };
    let diagnostics = quiet();
    let mut log = Log::open(&config, OsStr::new(CID), &diagnostics).unwrap();
    for read in reads(rest) {
        let stream = if read.len() % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        log.write(stream, &read, &diagnostics);
    }
    log.end_output(&diagnostics);
    let written = std::fs::read(&path).unwrap();
    assert!(written.is_empty() || written.ends_with(b"\n"));
    assert!(written.split_inclusive(|byte| *byte == b'\n').all(|record| record.len() >= 46));
}

/// Reads on their way to the journal; every datagram that arrives is taken apart.
pub fn journal(data: &[u8]) {
    thread_local! {
        static JOURNAL: (PathBuf, UnixDatagram) = {
            let path = scratch(".socket");
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            (path, socket)
        };
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 100_000]);
    }
    JOURNAL.with(|(path, socket)| {
        let diagnostics = quiet();
        let mut log =
            Journald::new(OsStr::new(CID), &crate::config::LogConfig::default(), path.clone());
        let mut messages = 0;
        let mut take = || {
            BUFFER.with_borrow_mut(|buffer| {
                while let Ok(length) = socket.recv(buffer) {
                    let datagram = &buffer[..length];
                    assert!(datagram.starts_with(b"MESSAGE"));
                    assert!(datagram.ends_with(b"CODE_FUNC=write_journald\n"));
                    messages += 1;
                }
            });
        };
        let mut lines = 0;
        for read in reads(data) {
            lines += read.iter().filter(|byte| **byte == b'\n').count();
            let stream = if read.len() % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            log.write(stream, &read, &diagnostics);
            while log.is_blocked() {
                take();
                log.resume(&diagnostics);
            }
        }
        log.end_output(&diagnostics);
        while log.is_blocked() {
            take();
            log.resume(&diagnostics);
        }
        take();
        assert!(messages >= lines);
    });
}
