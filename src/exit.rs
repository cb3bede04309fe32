//! The record of the container's exit: exit files and the exit command.

use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use crate::atomic_file::write_atomically;
use crate::config::{Config, ExitCommand};
use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::oom_score::OomScore;
use crate::signals::{Ended, Signals, reap_next};
use crate::sys;

/// Writes the exit code to `<persist-dir>/exit`, then to `<exit-dir>/<cid>`.
///
/// The second is what wakes callers, which then read the first. Both are tried whatever
/// becomes of the other. Returns whether both succeeded; each failure is said.
pub(crate) fn write_exit_files(config: &Config, code: i32, diag: &Diagnostics) -> bool {
    let persist = config.persist_dir.as_ref().map(|dir| (dir.join("exit"), "container exit file"));
    let exit = config.exit_dir.as_ref().map(|dir| (child_path(dir, &config.cid), "exit file"));
    let text = code.to_string();
    let mut complete = true;
    for (path, what) in [persist, exit].into_iter().flatten() {
        if let Err(failure) = write_atomically(&path, text.as_bytes()) {
            let intro = format!("Failed to write {text} to {what}: ");
            diag.failure(&Failure::new(concat(&[intro.as_bytes(), &failure.sentence()])));
            complete = false;
        }
    }
    complete
}

/// `<dir>/<name>` even when `name` is absolute or empty, as plain concatenation makes it. An
/// empty directory is the working directory.
fn child_path(dir: &Path, name: &std::ffi::OsStr) -> PathBuf {
    if dir.as_os_str().is_empty() {
        return PathBuf::from(name);
    }
    let joined = concat(&[dir.as_os_str().as_bytes(), b"/", name.as_bytes()]);
    PathBuf::from(std::ffi::OsString::from_vec(joined))
}

/// Starts the exit command.
///
/// The monitor's own signals no longer matter by then: the container is gone.
pub(crate) fn start_exit_command(
    command: &ExitCommand,
    oom_score: &OomScore,
) -> Result<Pid, Failure> {
    match sys::process::fork().map_err(|errno| Failure::with_errno("Failed to fork", errno))? {
        ForkResult::Child => become_exit_command(command, oom_score),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// The signals that the exit command finds at their defaults: those the monitor has changed,
/// and those it would pass on, which a shell ignores for what it runs in the background.
const ORDINARY: [Signal; 5] =
    [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

fn become_exit_command(command: &ExitCommand, oom_score: &OomScore) -> ! {
    oom_score.restore();
    // An ordinary program expects ordinary signals.
    for signal in ORDINARY {
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
