//! Small files that appear whole or not at all.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, renameat};
use nix::sys::stat::Mode;
use nix::unistd::unlink;

use crate::failure::{Failure, concat};
use crate::sys;

/// Creates or replaces the file at `path` in one step; a reader sees all of it or nothing.
///
/// Mode 0666 less the umask. No fsync: a caller waits for the file, not for the disk.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Failure> {
    try_to_write(path, content).map_err(|refused| refused.failure())
}

/// The same for who may try again: the words of the failure are made when they are needed.
pub(crate) fn try_to_write<'a>(path: &'a Path, content: &[u8]) -> Result<(), Refused<'a>> {
    let suffix = random_suffix();
    let temporary = concat(&[path.as_os_str().as_bytes(), b".", suffix.as_bytes()]);
    let temporary = PathBuf::from(std::ffi::OsString::from_vec(temporary));
    write_by_way_of(&temporary, path, content).map_err(|(step, errno)| Refused {
        step,
        errno,
        temporary,
        path,
    })
}

/// Why a file could not be written.
pub(crate) struct Refused<'a> {
    step: Step,
    errno: Errno,
    temporary: PathBuf,
    path: &'a Path,
}

#[derive(Clone, Copy)]
enum Step {
    Create,
    Write,
    Rename,
}

impl Refused<'_> {
    /// Whether the next try may succeed, with another name or when the system has more to give.
    pub(crate) fn may_pass(&self) -> bool {
        let full = [Errno::EMFILE, Errno::ENFILE, Errno::ENOSPC, Errno::EDQUOT];
        let busy = [Errno::EAGAIN, Errno::ENOMEM, Errno::ENOBUFS, Errno::EIO, Errno::EINTR];
        let name_taken = matches!((self.step, self.errno), (Step::Create, Errno::EEXIST));
        name_taken || full.contains(&self.errno) || busy.contains(&self.errno)
    }

    /// GLib's words, as the reference hands them on.
    pub(crate) fn failure(&self) -> Failure {
        let reason = sys::errno::describe(self.errno);
        let new = self.path.as_os_str().as_bytes();
        let (verb, rest): (&[u8], &[&[u8]]) = match self.step {
            Step::Create => (b"create", &[]),
            Step::Write => (b"write", &[b": write() failed"]),
            Step::Rename => {
                (b"rename", &[" to “".as_bytes(), new, "”: g_rename() failed".as_bytes()])
            }
        };
        let old = self.temporary.as_os_str().as_bytes();
        let intro = [b"Failed to ", verb, " file “".as_bytes(), old, "”".as_bytes()];
        Failure::new(concat(&[&intro.concat(), &rest.concat(), b": ", reason.as_bytes()]))
    }
}

fn write_by_way_of(temporary: &Path, path: &Path, content: &[u8]) -> Result<(), (Step, Errno)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = open(temporary, flags, Mode::from_bits_truncate(0o666))
        .map_err(|errno| (Step::Create, errno))?;
    let here = nix::fcntl::AT_FDCWD;
    let written =
        sys::fd::write_all(&file, content).map_err(|errno| (Step::Write, errno)).and_then(|()| {
            renameat(here, temporary, here, path).map_err(|errno| (Step::Rename, errno))
        });
    if written.is_err() {
        // The name is ours alone; what is left of it helps nobody.
        let _ = unlink(temporary);
    }
    written
}

/// Six characters for the end of a temporary name.
pub(crate) fn random_suffix() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = sys::random::number();
    let next = |_| {
        let letter = LETTERS.get((random % 36) as usize).copied().unwrap_or(b'A');
        random /= 36;
        char::from(letter)
    };
    (0..6).map(next).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        std::fs::write(&path, "old and longer").unwrap();
        write_atomically(&path, b"137").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"137");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0);
    }

    #[test]
    fn names_the_temporary_file_that_cannot_be_created() {
        let failure = write_atomically(Path::new("/nonexistent/pid"), b"1").unwrap_err();
        let text = String::from_utf8(failure.sentence()).unwrap();
        assert!(text.starts_with("Failed to create file “/nonexistent/pid."), "{text}");
        assert!(text.ends_with("”: No such file or directory"), "{text}");
    }

    #[test]
    fn a_rename_that_fails_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        let failure = write_atomically(&path, b"1").unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let text = String::from_utf8(failure.sentence()).unwrap();
        let end = format!("” to “{}”: g_rename() failed: Is a directory", path.display());
        assert!(text.starts_with("Failed to rename file “") && text.ends_with(&end), "{text}");
    }
}
