//! What a process can say about its own descriptors, read from `/proc` and nothing else.
//!
//! Part of several programs (the payload has no dependencies, so neither has this).

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// One open descriptor.
pub struct FdFact {
    pub fd: i32,
    /// `null`, `pipe`, `fifo`, `socket`, `tty`, `file`, `directory`, `device`, `anon` or `unknown`.
    pub kind: &'static str,
    /// Permission bits, in octal.
    pub mode: String,
    /// `r`, `w` or `rw`.
    pub access: &'static str,
    pub nonblocking: bool,
    pub close_on_exec: bool,
    /// What the link in `/proc/self/fd` says.
    pub target: String,
}

/// Lists the open descriptors in ascending order.
pub fn open_fds() -> io::Result<Vec<FdFact>> {
    let mut numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    // The directory being read had a number too; it is gone by now and drops out here.
    Ok(numbers.into_iter().filter_map(|fd| describe(fd).ok()).collect())
}

/// Describes one descriptor.
pub fn describe(fd: i32) -> io::Result<FdFact> {
    let path = format!("/proc/self/fd/{fd}");
    let target = fs::read_link(&path)?.to_string_lossy().into_owned();
    let metadata = fs::metadata(&path).ok();
    let flags = flags(fd)?;
    let access = match flags & 0o3 {
        0 => "r",
        1 => "w",
        _ => "rw",
    };
    Ok(FdFact {
        fd,
        kind: kind(&target, metadata.as_ref()),
        mode: metadata.map_or_else(String::new, |data| format!("{:04o}", data.mode() & 0o7777)),
        access,
        nonblocking: flags & 0o4000 != 0,
        close_on_exec: flags & 0o2_000_000 != 0,
        target,
    })
}

fn flags(fd: i32) -> io::Result<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let text = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0");
    u32::from_str_radix(text.trim(), 8).map_err(io::Error::other)
}

fn kind(target: &str, metadata: Option<&fs::Metadata>) -> &'static str {
    let Some(metadata) = metadata else { return "unknown" };
    let file_type = metadata.file_type();
    if target == "/dev/null" {
        "null"
    } else if target.starts_with("anon_inode:") {
        "anon"
    } else if target.starts_with("pipe:") {
        "pipe"
    } else if file_type.is_fifo() {
        "fifo"
    } else if file_type.is_socket() {
        "socket"
    } else if is_terminal(target) {
        "tty"
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_file() {
        "file"
    } else {
        "device"
    }
}

fn is_terminal(target: &str) -> bool {
    ["/dev/pts/", "/dev/tty", "/dev/console", "/dev/ptmx", "/ptmx", "/dev/pts/ptmx"]
        .iter()
        .any(|prefix| target.starts_with(prefix))
}
