//! A FIFO as a log: what is in it vanishes when the last who has it open closes it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::PollFlags;
use nix::sys::stat::Mode;

use crate::log::rotate::{file_mode, open_flags};
use crate::sys;

/// Opens or creates the log at `path`.
///
/// A FIFO must not be waited for: whoever will read it may be started by the caller only when
/// the monitor has reported. Without a reader it is opened for reading as well, which the
/// kernel lets pass (fifo(7)); what is written then waits in it.
pub(super) fn open_log(path: &Path) -> nix::Result<OwnedFd> {
    let open = |flags| open(path, flags, file_mode());
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return open(open_flags());
    }
    let flags = open_flags() | OFlag::O_NONBLOCK;
    match open(flags) {
        Err(Errno::ENXIO) => open((flags - OFlag::O_WRONLY) | OFlag::O_RDWR),
        opened => opened,
    }
}

/// How much would be lost if `file` were closed now: nothing if it is no FIFO, or if somebody has
/// it open for reading.
///
/// `file` then is open for writing alone, since whoever can read counts as a reader. Where that
/// cannot be had, nobody can tell, and all that is in it counts until it is read.
pub(super) fn unread_bytes(file: &mut File) -> usize {
    if !file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return 0;
    }
    let bytes = sys::socket::waiting_bytes(file.as_fd()).unwrap_or_default();
    if bytes > 0 && is_open_for_reading(file.as_fd()) {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match open(path.as_str(), flags, Mode::empty()) {
            Ok(writer) => *file = File::from(writer),
            Err(_) => return bytes,
        }
    }
    // A pipe without readers reports an error, whatever it is asked for.
    let nobody_reads = sys::poll::look(file.as_fd(), PollFlags::empty()).unwrap_or(true);
    if nobody_reads { bytes } else { 0 }
}

fn is_open_for_reading(file: BorrowedFd<'_>) -> bool {
    let flags = fcntl(file, FcntlArg::F_GETFL).unwrap_or_default();
    OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE == OFlag::O_RDWR
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_in_a_fifo_is_lost_unless_somebody_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut log = File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(unread_bytes(&mut log), 0, "an empty one");
        log.write_all(b"four").unwrap();
        assert_eq!(unread_bytes(&mut log), 4);
        assert_eq!(unread_bytes(&mut log), 4, "asked again");
        let mut reader = File::open(&path).unwrap();
        assert_eq!(unread_bytes(&mut log), 0, "somebody has come");
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "four");
    }

    #[test]
    fn a_file_is_no_fifo() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"four").unwrap();
        assert_eq!(unread_bytes(&mut file), 0);
    }
}
