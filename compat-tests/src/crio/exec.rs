//! ExecSync: a command in a container, its output and its status in one answer.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::argv;
use super::container::Container;
use super::launch::{self, Launched, SyncPipe};
use super::log::Log;
use super::node::Node;
use super::world;
use crate::clock::now;
use crate::text::escape;
use crate::world::paths;

/// How much of the output an answer may hold.
pub const MOST_OUTPUT: u64 = 16 << 20;

/// What CRI-O answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Response { code: i64, stdout: Vec<u8>, stderr: Vec<u8> },
    Error(String),
}

impl Answer {
    /// A response in one line.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Response { code, stdout, stderr } => {
                format!("{code}, stdout `{}`, stderr `{}`", escape(stdout), escape(stderr))
            }
            Self::Error(error) => format!("error: {}", escape(error.as_bytes())),
        }
    }
}

/// A session whose monitor was started and let go.
pub struct Session {
    name: String,
    launched: Launched,
    directory: PathBuf,
    log: PathBuf,
}

impl Session {
    /// The launched process, which with `--sync` is the monitor.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.launched.pid()
    }
}

impl Node {
    /// Runs verbs of the test program in a container and returns what CRI-O answers.
    ///
    /// # Errors
    ///
    /// The world failed, or the monitor does not end.
    pub fn exec_sync(
        &mut self,
        container: &Container,
        name: &str,
        verbs: &[&str],
        timeout_s: Option<u32>,
    ) -> Result<Answer> {
        let command = [&[paths::PAYLOAD], verbs].concat();
        let session = self.begin_exec(container, name, &command, timeout_s)?;
        self.answer(session)
    }

    /// Starts a session.
    ///
    /// # Errors
    ///
    /// The world failed.
    pub fn begin_exec(
        &mut self,
        container: &Container,
        name: &str,
        command: &[&str],
        timeout_s: Option<u32>,
    ) -> Result<Session> {
        let directory = PathBuf::from(format!("/tmp/crio-log-{name}"));
        fs::create_dir(&directory)?;
        let log = directory.join(format!("{}.log", container.id));
        // Temporary files, so they are there and empty.
        let pid_file = format!("/tmp/pidfile-{name}");
        fs::write(&pid_file, "")?;
        let spec = format!("/tmp/exec-process-{name}");
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let environment = ["PATH=/bin", "HOME=/", "TERM=xterm"].map(str::to_owned);
        let process =
            crate::world::bundle::process(&command, &environment, None, None, container.tty);
        fs::write(&spec, process.to_string())?;
        let arguments = argv::exec_sync(&argv::ExecSync {
            id: &container.id,
            name: &format!("k8s_{}_pod_default_0", container.name),
            runtime: &self.runtime,
            root: paths::RUNTIME_ROOT,
            pid_file: &pid_file,
            log: &log.display().to_string(),
            process_spec: &spec,
            socket_dir: world::SOCKETS,
            log_level: "info",
            sync: self.probe.sync,
            size_limit: self.probe.size_limit.then_some(MOST_OUTPUT),
            tty: container.tty,
            timeout_s,
            systemd: self.systemd,
        });
        let words = [vec![self.monitor.display().to_string()], arguments].concat();
        let launched = launch::start(&words, std::path::Path::new("/"), SyncPipe::Pipe)?;
        launched.release();
        Ok(Session { name: name.to_owned(), launched, directory, log })
    }

    /// Waits for the end of a session.
    ///
    /// # Errors
    ///
    /// The monitor does not end.
    pub fn answer(&mut self, mut session: Session) -> Result<Answer> {
        let fact = |what: &str| format!("exec {}: {what}", session.name);
        let ended = session.launched.wait(self.limit).with_context(|| fact("the monitor"))?;
        // CRI-O does not look at the status.
        self.facts.note(fact("the monitor's end"), &ended.status);
        self.facts.note(fact("says"), escape(&[ended.stdout, ended.stderr].concat()));
        self.facts.holds(fact("streams are released"), ended.streams_released);
        let value = session.launched.read_value(self.limit);
        self.facts.holds(fact("the pipe is closed"), session.launched.reports_end(self.limit));
        let reports = session.launched.sync.bytes();
        let lines = reports.split_inclusive(|byte| *byte == b'\n').count();
        self.facts.must(fact("objects in the pipe"), lines, 1);
        let answer = match value {
            Err(error) => Answer::Error(format!("command error: {error}")),
            Ok(value) => self.response(&value, &session, &fact("kubelet complains of the log"))?,
        };
        fs::remove_dir_all(&session.directory)?;
        Ok(answer)
    }

    fn response(&mut self, value: &Value, session: &Session, fact: &str) -> Result<Answer> {
        let code = value.get("exit_code").and_then(Value::as_i64).context("no exit_code")?;
        let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
        if code == -1 {
            return Ok(if message == "command timed out" {
                Answer::Response { code, stdout: Vec::new(), stderr: message.into() }
            } else {
                Answer::Error(message.to_owned())
            });
        }
        let too_long = fs::metadata(&session.log).is_ok_and(|log| log.len() > MOST_OUTPUT);
        if too_long {
            fs::File::options().write(true).open(&session.log)?.set_len(MOST_OUTPUT)?;
        }
        let log = Log::read(&session.log, self.began, now());
        // The line that was cut just now is no fault of the monitor's.
        if !too_long {
            self.facts.must(fact, log.complaints(), "none");
        }
        Ok(Answer::Response { code, stdout: log.stdout, stderr: log.stderr })
    }
}
