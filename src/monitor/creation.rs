//! What came of the creation: a container to monitor, or a report that there is none.

use nix::unistd::Pid;

use super::container::ContainerProcess;
use super::held::Creation;
use super::{Monitor, Phase};
use crate::cgroup::oom::OomWatch;
use crate::config::Api;
use crate::failure::{Failure, concat};
use crate::runtime::pid_file;
use crate::signals::Ended;
use crate::stdio::output::{ReadBuffer, SHORT_READ_BYTES};
use crate::stream::Stream;
use crate::sys;

/// Why there is no container to monitor.
pub(crate) struct CreationFailed {
    pub(crate) failure: Failure,
    /// For the caller, if it differs from the failure itself.
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) remains: Remains,
}

/// What to do about processes that a failed creation leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// The runtime has failed by itself and cleaned up as it thought fit.
    Leave,
    /// There may be a container that nobody would monitor.
    Kill,
}

impl From<Failure> for CreationFailed {
    fn from(failure: Failure) -> Self {
        Self { failure, message: None, remains: Remains::Kill }
    }
}

impl Monitor<'_> {
    /// The runtime has ended: finds out what has come of it.
    #[inline(never)]
    pub(super) fn container_created(&mut self) -> Result<(), CreationFailed> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended(Ended::Unknown));
        let Phase::Creating { mut creation, .. } = phase else { return Ok(()) };
        self.collect_runtime_words(&mut creation);
        let pid = self
            .container_pid(&creation)
            .inspect_err(|_| self.log_words_of_session(&mut creation))?;
        self.diag.debug(format!("container PID: {pid}"));
        let now = sys::time::monotonic();
        let watched = match creation.early_exit(pid) {
            Some(ended) => Err(ended),
            None => ContainerProcess::watch(pid, now).map_err(|_| Ended::Unknown),
        };
        let exec = self.config.is_exec();
        if exec && watched.is_err() && creation.early_exit(pid).is_none() {
            // The runtime wrote a pid, failed, and left nothing behind.
            self.runtime_succeeded(&creation)
                .inspect_err(|_| self.log_words_of_session(&mut creation))?;
        }
        self.report_pid(pid, exec);
        self.phase = match watched {
            Err(ended) => {
                if ended.code() != 0 {
                    self.diag.info(format!("container {pid} exited with status {}", ended.code()));
                }
                Phase::Ended(ended)
            }
            Ok(container) => {
                let directories = [&self.config.persist_dir, &self.config.bundle];
                let directories = directories.into_iter().flatten().cloned().collect();
                Phase::Running {
                    container,
                    timeout: self.config.timeout.map(|timeout| now + timeout),
                    oom: OomWatch::start(pid, directories, self.diag),
                }
            }
        };
        self.log_held(&mut creation);
        // It may have ended while nobody was watching.
        self.check_container();
        Ok(())
    }

    /// Where a pid file is there, be it empty, the reference takes a session for started, and
    /// what its runtime said goes to the log.
    fn log_words_of_session(&mut self, creation: &mut Creation) {
        if self.config.is_exec() && self.config.container_pidfile.exists() {
            self.log_held(creation);
        }
    }

    /// Passes on what was held back while nobody could tell whose it was.
    fn log_held(&mut self, creation: &mut Creation) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let held = creation.take_held(stream);
            if !held.is_empty() {
                self.deliver(stream, &held, sys::time::monotonic());
            }
        }
    }

    /// Reads what the runtime left in its stderr, without waiting for whoever else holds it.
    fn collect_runtime_words(&mut self, creation: &mut Creation) {
        let now = sys::time::monotonic();
        let mut short = [0; SHORT_READ_BYTES];
        while let Some(stderr) = &mut self.stderr {
            let read = stderr.read(&mut short, &mut self.work.buffer, now);
            let buffer = std::mem::replace(&mut self.work.buffer, ReadBuffer::new());
            let Some(bytes) = read.bytes(&short, &buffer) else {
                self.work.buffer = buffer;
                return;
            };
            let surplus = creation.hold(Stream::Stderr, bytes);
            self.pass_on(Stream::Stderr, &surplus, now);
            let held = surplus.is_empty();
            self.work.buffer = buffer;
            if !held {
                // More than the pipe can have held: somebody is writing still.
                return;
            }
        }
    }

    /// The container's pid as the runtime recorded it.
    fn container_pid(&mut self, creation: &Creation) -> Result<Pid, CreationFailed> {
        if !self.config.is_exec() {
            self.runtime_succeeded(creation)?;
        }
        if self.config.terminal {
            // What it sent just before it ended: a connection, and the terminal through it.
            self.on_console()?;
            self.on_console()?;
        }
        if self.config.terminal && self.terminal.outer.is_none() {
            let text = "Runtime did not set up terminal";
            let words = creation.message();
            self.warn_of(&words);
            let message = match words.as_slice() {
                [] => text.into(),
                words => concat(&[text.as_bytes(), b": ", words]),
            };
            let failure = Failure::new(text);
            return Err(CreationFailed { message: Some(message), ..failure.into() });
        }
        pid_file::read(&self.config.container_pidfile).map_err(|failure| {
            let words = creation.message();
            self.warn_of(&words);
            let message = if words.is_empty() { failure.sentence() } else { words };
            let text = concat(&[b"Failed to read pidfile: ", &failure.sentence()]);
            CreationFailed { message: Some(message), ..Failure::new(text).into() }
        })
    }

    fn runtime_succeeded(&self, creation: &Creation) -> Result<(), CreationFailed> {
        let code = creation.runtime_ended().unwrap_or(Ended::Unknown).code();
        if code == 0 {
            return Ok(());
        }
        let words = creation.message();
        self.warn_of(&words);
        let failure = Failure::new(format!("Failed to create container: exit status {code}"));
        Err(CreationFailed { failure, message: Some(words), remains: Remains::Leave })
    }

    fn warn_of(&self, runtime_words: &[u8]) {
        if !runtime_words.is_empty() {
            self.diag.warn(concat(&[b"runtime stderr: ", runtime_words]));
        }
    }

    fn report_pid(&mut self, pid: Pid, exec: bool) {
        if exec && self.config.api == Api::Legacy {
            return;
        }
        if let Err(failure) = self.sync.report(pid.as_raw(), b"") {
            // The container lives: whoever cannot be told may still read the exit file.
            self.diag.warn(failure.sentence());
        }
    }
}
