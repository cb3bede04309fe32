//! Starting a monitor: its pipes, environment and process group, and what is read from it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::unistd::pipe2;
use serde_json::Value;

use super::argv;
use crate::clock::until;
use crate::observe::streams::Stream;
use crate::sys::{self, ChildSetup};

/// What the monitor reports through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPipe {
    /// A socket pair, for a container.
    Socket,
    /// A pipe, for ExecSync.
    Pipe,
}

/// A monitor that was started and has not been let go.
pub struct Launched {
    child: Child,
    pub sync: Stream,
    start: OwnedFd,
    pub stdout: Stream,
    pub stderr: Stream,
}

/// Starts `words`, the monitor with whatever is put before it, in `directory`. A container's monitor gets a process group of its
/// own; that of an ExecSync starts in its caller's.
///
/// # Errors
///
/// It cannot be started.
pub fn start(words: &[String], directory: &Path, kind: SyncPipe) -> Result<Launched> {
    let (program, arguments) = words.split_first().context("no program")?;
    let pair = || socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
    let (sync, theirs) = match kind {
        SyncPipe::Socket => pair()?,
        SyncPipe::Pipe => pipe2(OFlag::O_CLOEXEC)?,
    };
    let (start, start_of_theirs) = pair()?;
    let ((stdout, out), (stderr, err)) = (pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(argv::environment()).current_dir(directory);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let setup = ChildSetup {
        fds: vec![(theirs, 3), (start_of_theirs, 4)],
        umask: Some(0o022),
        new_group: kind == SyncPipe::Socket,
        default_signals: true,
        ..ChildSetup::default()
    };
    sys::prepare(&mut command, setup);
    let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    // Dropping it closes the monitor's ends here.
    drop(command);
    Ok(Launched {
        child,
        sync: Stream::new(sync)?,
        start,
        stdout: Stream::new(stdout)?,
        stderr: Stream::new(stderr)?,
    })
}

impl Launched {
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    /// Lets the monitor go on. One that has already refused its options is not there to read it.
    pub fn release(&self) {
        let _ = send(self.start.as_raw_fd(), b"\0", MsgFlags::MSG_NOSIGNAL);
    }

    /// Waits as CRI-O does: for the process's end, and for the end of its streams.
    ///
    /// # Errors
    ///
    /// The process does not end in time.
    pub fn wait(&mut self, limit: Duration) -> Result<Ended> {
        let mut status = None;
        let released = until(limit, || {
            self.stdout.pump();
            self.stderr.pump();
            // What is reported meanwhile must not fill the pipe.
            self.sync.pump();
            status = status.or_else(|| self.child.try_wait().ok().flatten());
            status.is_some() && !self.stdout.is_open() && !self.stderr.is_open()
        });
        let status = status.context("the launched process does not end")?;
        Ok(Ended {
            status: describe(status),
            streams_released: released,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
        })
    }

    /// Decodes one JSON value; an error is said in CRI-O's words.
    ///
    /// # Errors
    ///
    /// What came is no JSON, or ended before it was complete, or nothing came in time.
    pub fn read_value(&mut self, limit: Duration) -> Result<Value, String> {
        let mut decoded = None;
        let came = until(limit, || {
            self.sync.pump();
            decoded = decode(&self.sync.bytes(), self.sync.is_open());
            decoded.is_some()
        });
        match decoded {
            Some(result) if came => result,
            _ => Err("timeout reading container json message".to_owned()),
        }
    }

    /// Waits for the end of the reports.
    pub fn reports_end(&mut self, limit: Duration) -> bool {
        until(limit, || {
            self.sync.pump();
            !self.sync.is_open()
        })
    }
}

/// How a launched process ended, and what it said.
pub struct Ended {
    pub status: String,
    pub streams_released: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The first value of a stream, if it is complete, or why there will be none.
fn decode(bytes: &[u8], open: bool) -> Option<Result<Value, String>> {
    match serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().next() {
        Some(Ok(value)) => Some(Ok(value)),
        Some(Err(error)) if !error.is_eof() => Some(Err(error.to_string())),
        Some(Err(_)) if !open => Some(Err("unexpected EOF".to_owned())),
        None if !open => Some(Err("EOF".to_owned())),
        _ => None,
    }
}

/// A status in the words of the caller's language.
#[must_use]
pub fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Runs a program to its end.
///
/// # Errors
///
/// It cannot be started.
pub fn output(program: &Path, arguments: &[String]) -> io::Result<std::process::Output> {
    Command::new(program).args(arguments).env("PATH", argv::PATH).stdin(Stdio::null()).output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_enough_and_half_a_value_is_waited_for() {
        assert_eq!(decode(b"{\"pid\": 3}\n{\"pid", true).unwrap().unwrap()["pid"], 3);
        assert!(decode(b"{\"pid\": 3", true).is_none());
        assert!(decode(b"", true).is_none());
    }

    #[test]
    fn the_end_is_an_error_in_the_decoders_words() {
        assert_eq!(decode(b"", false).unwrap().unwrap_err(), "EOF");
        assert_eq!(decode(b"{\"pid\": 3", false).unwrap().unwrap_err(), "unexpected EOF");
        assert!(decode(b"pid 3", true).unwrap().is_err());
    }
}
