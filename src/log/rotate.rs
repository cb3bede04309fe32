//! Gives a k8s-file log a new file: by truncation, or by rotation into numbered backups.
//!
//! Works by names alone and follows no symbolic link: whatever stands at the log's path
//! makes room for a new file. The old descriptor stays usable until the new file is in
//! place, so that a failure costs nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, open, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::sys;

/// Up to this many backups are shifted by trying each name, more by looking at the directory.
const TRIED_NAMES: u32 = 100;

/// What happens when the log is full, or on a caller's demand.
pub(crate) enum Renewal {
    /// The old content goes; the new file takes the path over.
    Truncate { path: PathBuf },
    /// The old file becomes the newest of `backups` backups. The path is resolved.
    Rotate { path: PathBuf, backups: u32 },
}

impl Renewal {
    /// Puts a new, empty file at the log's path and returns it, opened for appending.
    ///
    /// # Errors
    ///
    /// The step that failed; `current` is then still the log.
    pub(crate) fn renew(
        &self,
        current: BorrowedFd<'_>,
        diag: &Diagnostics,
    ) -> Result<OwnedFd, Failure> {
        match self {
            Self::Truncate { path } => truncate(path),
            Self::Rotate { path, backups } => Rotation::begin(path, current)?.run(*backups, diag),
        }
    }
}

/// The flags of every log file, whichever way it comes into being.
pub(crate) fn open_flags() -> OFlag {
    // The first one lets a log grow beyond 2 GiB on 32-bit machines.
    OFlag::O_LARGEFILE | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC
}

/// The mode of a new log file.
pub(crate) fn file_mode() -> Mode {
    Mode::from_bits_truncate(0o640)
}

fn truncate(path: &Path) -> Result<OwnedFd, Failure> {
    let temporary = with_suffix(path.as_os_str(), ".tmp");
    // A left-over file would do, but a link in its place must not be followed.
    let _ = unlinkat(AT_FDCWD, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
    let flags = open_flags() | OFlag::O_EXCL;
    let file = open(temporary.as_os_str(), flags, file_mode()).map_err(|errno| {
        Failure::with_errno(concat(&[b"Failed to open log file ", bytes(path), b":"]), errno)
    })?;
    renameat(AT_FDCWD, temporary.as_os_str(), AT_FDCWD, path).map_err(|errno| {
        // Nothing worth keeping is in it, and a later attempt may use the name.
        let _ = unlinkat(AT_FDCWD, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        Failure::with_errno("Failed to rename log file", errno)
    })?;
    Ok(file)
}

/// One rotation; holds the lock on the old file until it ends.
struct Rotation<'a> {
    directory: OwnedFd,
    name: &'a OsStr,
    path: &'a Path,
    current: BorrowedFd<'a>,
}

impl<'a> Rotation<'a> {
    fn begin(path: &'a Path, current: BorrowedFd<'a>) -> Result<Self, Failure> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::new("Cannot rotate: invalid log path"));
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(parent, flags, Mode::empty())
            .map_err(|errno| failed(&[b"Failed to open log directory ", bytes(parent)], errno))?;
        fcntl(current, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)))
            .map_err(|_| Failure::new("Log file locked by another process, skipping rotation"))?;
        Ok(Self { directory, name, path, current })
    }

    fn run(&self, backups: u32, diag: &Diagnostics) -> Result<OwnedFd, Failure> {
        let fresh = with_suffix(self.name, ".new");
        // A rotation that was cut short may have left one behind; only we use the name.
        let _ = self.unlink(&fresh);
        let flags = open_flags() | OFlag::O_EXCL;
        let file = openat(&self.directory, fresh.as_os_str(), flags, file_mode())
            .map_err(|errno| failed(&[b"Failed to create new log file"], errno))?;
        self.replace(&fresh, backups, diag).inspect_err(|_| {
            if let Err(errno) = self.unlink(&fresh) {
                diag.warn(sentence(&[b"Failed to remove temporary file"], errno));
            }
        })?;
        Ok(file)
    }

    /// Moves the old file to the backups and the `fresh` one to its place.
    fn replace(&self, fresh: &OsStr, backups: u32, diag: &Diagnostics) -> Result<(), Failure> {
        let newest = self.backup(1);
        let existed = self.exists(self.name);
        if existed {
            // As in the original, there are never fewer than two.
            self.shift(backups.max(2), diag);
            self.rename(self.name, &newest)
                .map_err(|errno| failed(&[b"Failed to rotate log file"], errno))?;
        }
        self.rename(fresh, self.name).map_err(|errno| {
            if existed {
                if let Err(errno) = self.rename(&newest, self.name) {
                    let what = b"CRITICAL: Failed to restore original log file";
                    diag.warn(sentence(&[what], errno));
                    diag.warn("Original log data may be in backup file");
                }
            }
            failed(&[b"Failed to move new log file into place"], errno)
        })
    }

    /// Renames each backup to the next number; what has the last one is overwritten.
    fn shift(&self, backups: u32, diag: &Diagnostics) {
        let mut complete = true;
        let mut shift_one = |number: u32| {
            let (from, to) = (self.backup(number), self.backup(number + 1));
            match self.rename(&from, &to) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    complete = false;
                    let (from, to) = (self.path.with_file_name(from), self.path.with_file_name(to));
                    let what = [b"Failed to shift backup file ", bytes(&from), b" to ", bytes(&to)];
                    diag.warn(sentence(&what, errno));
                }
            }
        };
        if backups <= TRIED_NAMES {
            (1..backups).rev().for_each(&mut shift_one);
        } else {
            self.existing_backups(backups).into_iter().for_each(&mut shift_one);
        }
        if !complete {
            diag.warn("Backup file shifting completed with some errors");
        }
    }

    /// The numbers below `limit` that have a backup, highest first.
    fn existing_backups(&self, limit: u32) -> Vec<u32> {
        let entries = self.path.parent().and_then(|parent| std::fs::read_dir(parent).ok());
        // A heap sorts in a tenth of the code of a slice's sort.
        let numbers: BinaryHeap<Reverse<u32>> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                let suffix = name.as_bytes().strip_prefix(self.name.as_bytes())?;
                let number: u32 =
                    std::str::from_utf8(suffix.strip_prefix(b".")?).ok()?.parse().ok()?;
                // Other spellings of a number (`.01`, `.+1`) are not ours.
                (self.backup(number) == name).then_some(number)
            })
            .filter(|number| (1..limit).contains(number))
            .map(Reverse)
            .collect();
        numbers.into_sorted_vec().into_iter().map(|Reverse(number)| number).collect()
    }

    fn backup(&self, number: u32) -> OsString {
        with_suffix(self.name, &format!(".{number}"))
    }

    fn exists(&self, name: &OsStr) -> bool {
        fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) != Err(Errno::ENOENT)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> nix::Result<()> {
        renameat(self.directory.as_fd(), from, self.directory.as_fd(), to)
    }

    fn unlink(&self, name: &OsStr) -> nix::Result<()> {
        unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)
    }
}

impl Drop for Rotation<'_> {
    fn drop(&mut self) {
        // Closing the old file would do it too, but after a failure it stays open.
        let _ = fcntl(self.current, FcntlArg::F_SETLK(&whole_file(libc::F_UNLCK)));
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// `what: reason`, as the rotation's messages are written.
fn sentence(what: &[&[u8]], errno: Errno) -> Vec<u8> {
    concat(&[&concat(what), b": ", sys::errno::describe(errno).as_bytes()])
}

fn failed(what: &[&[u8]], errno: Errno) -> Failure {
    Failure::new(sentence(what, errno))
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_os_string();
    name.push(suffix);
    name
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
