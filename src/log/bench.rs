//! What logging costs: CPU seconds of the reading thread per GB of container output.
//!
//! Run it by hand, optimised:
//! `cargo test --release log::bench -- --ignored --nocapture --test-threads=1`

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::*;
use crate::diagnostics::Level;

const OUTPUT_BYTES: usize = 64 << 20;
const READ_BYTES: usize = 64 * 1024;

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn pattern(line: usize) -> Vec<u8> {
    (0..READ_BYTES).map(|at| if at % line == line - 1 { b'\n' } else { b'x' }).collect()
}

/// CPU seconds per GB of a thread that reads lines of `line` bytes and passes them to `sink`.
fn measure(line: usize, mut sink: impl FnMut(&[u8])) -> f64 {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let feed = std::thread::spawn(move || {
        let bytes = pattern(line);
        for _ in 0..OUTPUT_BYTES / bytes.len() {
            writer.write_all(&bytes).unwrap();
        }
    });
    let mut buffer = vec![0; READ_BYTES];
    let start = cpu();
    loop {
        let count = reader.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        sink(&buffer[..count]);
    }
    let spent = cpu() - start;
    feed.join().unwrap();
    spent.as_secs_f64() * 1e9 / OUTPUT_BYTES as f64
}

fn k8s_file_log(path: &std::path::Path) -> (Log, Diagnostics) {
    let diag = Diagnostics::new(Level::Warning, None);
    let config =
        LogConfig { k8s_file: Some(path.to_path_buf()), k8s_file_count: 1, ..LogConfig::default() };
    (Log::open(&config, OsStr::from_bytes(b"0123456789abcdef"), &diag).unwrap(), diag)
}

#[test]
#[ignore = "a measurement, to be read by a person"]
fn k8s_file_on_tmpfs_against_a_plain_copy() {
    for line in [16, 100, 4096, usize::MAX] {
        let mut rounds: Vec<(f64, f64)> = (0..3)
            .map(|_| {
                let dir = tempfile::tempdir_in("/dev/shm").unwrap();
                let mut copy = File::create(dir.path().join("copy")).unwrap();
                let plain = measure(line, |bytes| copy.write_all(bytes).unwrap());
                std::fs::remove_file(dir.path().join("copy")).unwrap();
                drop(copy);
                let (mut log, diag) = k8s_file_log(&dir.path().join("log"));
                let logged = measure(line, |bytes| log.write(Stream::Stdout, bytes, &diag));
                (logged, plain)
            })
            .collect();
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (logged, plain) = rounds[1];
        let (mut log, diag) = k8s_file_log(std::path::Path::new("/dev/null"));
        let discarded = measure(line, |bytes| log.write(Stream::Stdout, bytes, &diag));
        let read_only = measure(line, |_| {});
        println!("line {line}: framed to /dev/null {discarded:.2}, read {read_only:.2}");
        println!("line {line}: {logged:.2} CPU s/GB, plain copy {plain:.2}");
    }
}

#[test]
#[ignore = "a measurement, to be read by a person"]
fn journald_against_a_reader_of_its_socket() {
    for line in [16, 100, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        // An empty datagram ends the reader.
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while journal.recv(&mut buffer).unwrap() > 0 {}
        });
        let diag = Diagnostics::new(Level::Warning, None);
        let cid = OsStr::new("0123456789abcdef");
        let mut log = Journald::new(cid, &LogConfig::default(), path.clone());
        let logged = measure(line, |bytes| {
            log.write(Stream::Stdout, bytes, &diag);
            while let Some(fd) = log.blocked_on() {
                use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
                poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE).unwrap();
                log.resume(&diag);
            }
        });
        std::os::unix::net::UnixDatagram::unbound().unwrap().send_to(&[], &path).unwrap();
        reader.join().unwrap();
        println!("journald, line {line}: {logged:.2} CPU s/GB");
    }
}

#[test]
#[ignore = "a measurement, to be read by a person"]
fn framing_alone() {
    for line in [16, 40, 100, 300, 4096, usize::MAX] {
        let (mut log, diag) = k8s_file_log(std::path::Path::new("/dev/null"));
        let bytes = pattern(line);
        let rounds: Vec<f64> = (0..60)
            .map(|_| {
                let start = cpu();
                for _ in 0..64 {
                    log.write(Stream::Stdout, &bytes, &diag);
                }
                (cpu() - start).as_secs_f64() * 1e9 / (64 * bytes.len()) as f64
            })
            .collect();
        let best = rounds.iter().copied().fold(f64::MAX, f64::min);
        println!("framing, line {line}: {best:.3} CPU s/GB at best");
    }
}
