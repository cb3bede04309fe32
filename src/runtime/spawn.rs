//! Starting the runtime: the child's side from fork to exec.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid};

use crate::failure::{Failure, concat};
use crate::launch::Null;
use crate::oom_score::OomScore;
use crate::sys;

/// What the runtime child is given.
pub(crate) struct Spawn<'a> {
    pub(crate) argv: &'a [OsString],
    /// The runtime's descriptors 0 to 2; `None` leaves the caller's (passthrough).
    pub(crate) stdio: Option<Stdio<'a>>,
    /// Read once more before the runtime is executed (exec sessions with attach).
    pub(crate) second_start_byte: Option<BorrowedFd<'a>>,
    pub(crate) signal_mask: &'a SigSet,
    pub(crate) oom_score: &'a OomScore,
    pub(crate) replace_listen_pid: bool,
}

/// The runtime's three standard descriptors.
pub(crate) struct Stdio<'a> {
    /// `None`: /dev/null.
    pub(crate) stdin: Option<&'a OwnedFd>,
    /// `None`: /dev/null.
    pub(crate) stdout: Option<&'a OwnedFd>,
    pub(crate) stderr: &'a OwnedFd,
    pub(crate) null: &'a Null,
}

/// Starts the runtime and returns its pid.
///
/// What goes wrong in the child before the runtime runs is written to the child's stderr,
/// which is where the runtime's own reasons arrive; the child then leaves with a failure.
pub(crate) fn spawn(spawn: &Spawn<'_>) -> nix::Result<Pid> {
    let monitor = getpid();
    let run = || {
        let (code, failure) = become_runtime(spawn, monitor);
        let text = concat(&[b"[conmon:e]: ", &failure.sentence(), b"\n"]);
        crate::diagnostics::write_stderr(&text);
        code
    };
    if spawn.second_start_byte.is_none() {
        return sys::process::run_in_child(run);
    }
    // The byte may come when this process has served the caller's client.
    match sys::process::fork()? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => sys::process::leave(run()),
    }
}

const EXEC_FAILED: i32 = 127;

/// Everything between fork and exec, in the child; returns only to say what failed.
fn become_runtime(spawn: &Spawn<'_>, monitor: Pid) -> (i32, Failure) {
    match prepare(spawn, monitor) {
        Err(failure) => (1, failure),
        Ok(environment) => {
            let argv = c_strings(spawn.argv.iter().cloned());
            let Some(path) = argv.first() else { return (1, Failure::new("no runtime")) };
            let errno = match environment {
                None => sys::process::exec(path, &argv),
                Some(environment) => {
                    let Err(errno) = nix::unistd::execve(path, &argv, &environment);
                    errno
                }
            };
            let text = concat(&[b"Failed to execute runtime ", path.to_bytes()]);
            (EXEC_FAILED, Failure::with_errno(text, errno))
        }
    }
}

/// Readies the child; returns the environment if it differs from the monitor's.
fn prepare(spawn: &Spawn<'_>, monitor: Pid) -> Result<Option<Vec<CString>>, Failure> {
    // stderr first: it carries what the following steps have to say.
    if let Some(stdio) = &spawn.stdio {
        take_stdio(stdio)?;
    }
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Failure::with_errno("Failed to set PDEATHSIG", errno))?;
    if getppid() != monitor {
        // The monitor died before the kernel knew what to do then.
        return Err(Failure::new("the monitor is gone"));
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(spawn.signal_mask), None)
        .map_err(|errno| Failure::with_errno("Failed to unblock signals", errno))?;
    let environment = match std::env::var_os("LISTEN_PID") {
        Some(value) => listen_environment(&value, monitor, spawn.replace_listen_pid)?,
        None => None,
    };
    if let Some(start_pipe) = spawn.second_start_byte {
        crate::launch::read_start_pipe(start_pipe)?;
    }
    spawn.oom_score.restore();
    Ok(environment)
}

fn take_stdio(stdio: &Stdio<'_>) -> Result<(), Failure> {
    let stderr_pipe = stdio.stderr;
    dup2_stderr(stderr_pipe)
        .map_err(|errno| Failure::with_errno("Failed to dup over stderr", errno))?;
    dup2_stdin(stdio.stdin.unwrap_or(&stdio.null.reader))
        .map_err(|errno| Failure::with_errno("Failed to dup over stdin", errno))?;
    dup2_stdout(stdio.stdout.unwrap_or(&stdio.null.writer))
        .map_err(|errno| Failure::with_errno("Failed to dup over stdout", errno))?;
    // A container process that changed its user must be able to open /dev/stdout anew.
    let pipes = [(stdio.stdin, "stdin"), (stdio.stdout, "stdout"), (Some(stderr_pipe), "stderr")];
    for (pipe, name) in pipes {
        let Some(pipe) = pipe else { continue };
        match fchmod(pipe.as_fd(), Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => {
                let text = format!("Failed to chmod {name} {}\n", sys::errno::describe(errno));
                crate::diagnostics::write_stderr(&concat(&[b"[conmon:w]: ", text.as_bytes()]));
            }
        }
    }
    Ok(())
}

/// The environment with `LISTEN_PID` naming this process, if it is to be changed.
///
/// Socket activation names the process that may use the descriptors; the service manager
/// named the monitor, but the runtime is meant.
fn listen_environment(
    value: &std::ffi::OsStr,
    monitor: Pid,
    replace: bool,
) -> Result<Option<Vec<CString>>, Failure> {
    let shown = value.as_bytes().get(..10).unwrap_or(value.as_bytes());
    let text = concat(&[b"Invalid LISTEN_PID ", shown]);
    let Some(named) = decimal_prefix(value.as_bytes()) else {
        return Err(Failure::with_errno(text, Errno::ERANGE));
    };
    if named <= 0 {
        return Err(Failure::new(text));
    }
    if !replace && named != i64::from(monitor.as_raw()) {
        return Ok(None);
    }
    let changed = std::env::vars_os().map(|(name, value)| {
        let is_pid = name == "LISTEN_PID";
        let value = if is_pid { getpid().to_string().into() } else { value };
        OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
    });
    Ok(Some(c_strings(changed)))
}

/// strtol(3) in base 10: blanks, a sign, digits; what follows is ignored. `None` on overflow.
fn decimal_prefix(bytes: &[u8]) -> Option<i64> {
    let text = bytes.trim_ascii_start();
    let (sign, text) = match text.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, text),
    };
    let mut digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.try_fold(0_i64, |number, digit| {
        number.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0'))
    })
}

fn c_strings(strings: impl Iterator<Item = OsString>) -> Vec<CString> {
    // What came from argv or the environment holds no NUL.
    strings.filter_map(|string| CString::new(string.into_vec()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("42", Some(42))]
    #[case::junk_after(" +42x", Some(42))]
    #[case::negative("-3", Some(-3))]
    #[case::no_number("abc", Some(0))]
    #[case::overflow("99999999999999999999", None)]
    fn reads_listen_pid_as_strtol_does(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(decimal_prefix(text.as_bytes()), expected);
    }
}
