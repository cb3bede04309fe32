//! The record of the container's exit: exit files and the exit command.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, renameat};
use nix::poll::PollFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, unlink};

use crate::config::{Config, ExitCommand};
use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::oom_score::OomScore;
use crate::signals::{Ended, Signals, reap_next};
use crate::sys;

/// Writes the exit code to `<persist-dir>/exit`, then to `<exit-dir>/<cid>`.
///
/// The second is what wakes callers, which then read the first. Both are tried whatever
/// becomes of the other.
///
/// # Errors
///
/// The first failure, after both attempts.
pub(crate) fn write_exit_files(config: &Config, code: i32) -> Result<(), Failure> {
    let persist = config.persist_dir.as_ref().map(|dir| (dir.join("exit"), "container exit file"));
    let exit = config.exit_dir.as_ref().map(|dir| (child_path(dir, &config.cid), "exit file"));
    let text = code.to_string();
    let mut outcome = Ok(());
    for (path, what) in [persist, exit].into_iter().flatten() {
        let written = write_atomically(&path, text.as_bytes()).map_err(|failure| {
            let intro = format!("Failed to write {text} to {what}: ");
            Failure::new(concat(&[intro.as_bytes(), &failure.sentence()]))
        });
        outcome = outcome.and(written);
    }
    outcome
}

/// `<dir>/<name>` even when `name` is absolute or empty, as plain concatenation makes it.
fn child_path(dir: &Path, name: &std::ffi::OsStr) -> PathBuf {
    let joined = concat(&[dir.as_os_str().as_bytes(), b"/", name.as_bytes()]);
    PathBuf::from(std::ffi::OsString::from_vec(joined))
}

/// Creates or replaces the file at `path` in one step; a reader sees all of it or nothing.
///
/// Mode 0666 less the umask. No fsync: a caller waits for the file, not for the disk.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let suffix = random_suffix();
    let temporary = concat(&[path.as_os_str().as_bytes(), b".", suffix.as_bytes()]);
    let temporary = PathBuf::from(std::ffi::OsString::from_vec(temporary));
    let failed = |verb: &[u8], path: &Path, errno| {
        let reason = sys::errno::describe(errno);
        let path = path.as_os_str().as_bytes();
        let quotes = ("“".as_bytes(), "”: ".as_bytes());
        Failure::new(concat(&[verb, quotes.0, path, quotes.1, reason.as_bytes()]))
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = open(&temporary, flags, Mode::from_bits_truncate(0o666))
        .map_err(|errno| failed(b"Failed to create file ", &temporary, errno))?;
    let written = write_all(&file, content)
        .map_err(|errno| failed(b"Failed to write file ", &temporary, errno))
        .and_then(|()| {
            let here = nix::fcntl::AT_FDCWD;
            renameat(here, &temporary, here, path)
                .map_err(|errno| failed(b"Failed to rename file ", &temporary, errno))
        });
    if written.is_err() {
        // The name is ours alone; what is left of it helps nobody.
        let _ = unlink(&temporary);
    }
    written
}

fn write_all(file: &OwnedFd, content: &[u8]) -> nix::Result<()> {
    let mut rest = content;
    while !rest.is_empty() {
        match nix::unistd::write(file, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Six characters for the end of a temporary name.
pub(crate) fn random_suffix() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    // Seeded by the kernel; there is no other need for random numbers here.
    let mut random = RandomState::new().build_hasher().finish();
    let next = |_| {
        let letter = LETTERS.get((random % 36) as usize).copied().unwrap_or(b'A');
        random /= 36;
        char::from(letter)
    };
    (0..6).map(next).collect()
}

/// Runs the exit command and waits for it, and for nothing else.
///
/// The monitor itself sleeps through the delay, holding nothing. Its own signals no longer
/// matter: the container is gone. Other children that end meanwhile are reaped.
pub(crate) fn run_exit_command(
    command: &ExitCommand,
    oom_score: &OomScore,
    signals: &Signals,
    diag: &Diagnostics,
) -> Result<(), Failure> {
    if let Err(errno) = prctl::set_child_subreaper(false) {
        let text = "Failed to disable self subreaper attribute - might wait for indirect \
                    children a long time";
        diag.warn_errno(text, errno);
    }
    if !command.delay.is_zero() {
        let seconds = command.delay.as_secs();
        diag.debug(format!("Sleeping for {seconds} seconds before executing exit command"));
        reap_until(signals, Some(command.delay), |_, _| false);
    }
    match sys::process::fork().map_err(|errno| Failure::with_errno("Failed to fork", errno))? {
        ForkResult::Child => become_exit_command(command, oom_score),
        ForkResult::Parent { child } => {
            reap_until(signals, None, |pid, _| pid == child);
            Ok(())
        }
    }
}

fn become_exit_command(command: &ExitCommand, oom_score: &OomScore) -> ! {
    oom_score.restore();
    // An ordinary program expects ordinary signals.
    for signal in [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGTERM] {
        let _ = sys::process::reset_signal(signal);
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let path = CString::new(command.path.as_os_str().as_bytes());
    let arguments = command.args.iter().map(|argument| CString::new(argument.as_bytes()));
    if let (Ok(path), Ok(arguments)) = (path, arguments.collect::<Result<Vec<_>, _>>()) {
        let argv: Vec<CString> = std::iter::once(path.clone()).chain(arguments).collect();
        sys::process::exec(&path, &argv);
    }
    sys::process::leave(1)
}

/// Reaps children as they end until `is_last` accepts one or `limit` has passed.
pub(crate) fn reap_until(
    signals: &Signals,
    limit: Option<Duration>,
    mut is_last: impl FnMut(Pid, Ended) -> bool,
) {
    let end = limit.map(|limit| sys::time::monotonic() + limit);
    loop {
        while signals.next().is_some() {}
        while let Some((pid, ended)) = reap_next() {
            if is_last(pid, ended) {
                return;
            }
        }
        let left = match end {
            None => Duration::MAX,
            Some(end) => end.saturating_sub(sys::time::monotonic()),
        };
        if left.is_zero() {
            return;
        }
        sys::poll::wait_for(signals.fd(), PollFlags::POLLIN, left);
    }
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
        assert!(write_atomically(&path, b"1").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
