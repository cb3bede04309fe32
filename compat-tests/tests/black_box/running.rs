//! A started monitor.

use crate::facts::{DEADLINE, alive, await_fact, await_file, within};
use crate::peer::Peer;
use crate::world::{CID, World};
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

pub struct Running<'w> {
    world: &'w World,
    child: Child,
    synchronous: bool,
    sync: Option<Peer>,
    start: Option<Peer>,
    attach: Option<Peer>,
}

/// What the launched process left: status, standard output and standard error.
#[derive(Debug, Eq, PartialEq)]
pub struct Launched {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl<'w> Running<'w> {
    pub fn new(
        world: &'w World,
        child: Child,
        synchronous: bool,
        [sync, start, attach]: [Option<Peer>; 3],
    ) -> Self {
        Self { world, child, synchronous, sync, start, attach }
    }

    pub fn sync(&self) -> &Peer {
        self.sync.as_ref().expect("a sync pipe was asked for")
    }

    /// Closes our end of the sync pipe.
    pub fn close_sync(&mut self) {
        self.sync = None;
    }

    pub fn start_pipe(&self) -> &Peer {
        self.start.as_ref().expect("a start pipe was asked for")
    }

    /// Closes our end of the start pipe.
    pub fn close_start(&mut self) {
        self.start = None;
    }

    pub fn attach_pipe(&self) -> &Peer {
        self.attach.as_ref().expect("an attach pipe was asked for")
    }

    /// The process we started; its end must be waited for with `ended` or `launched`.
    pub fn launched_pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits for the end of the process we started.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        await_fact("the end of the launched process", || self.child.try_wait().unwrap())
    }

    /// The same, if it happens within `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.child.try_wait().unwrap())
    }

    /// Waits for the end of the process we started, and collects what it left.
    #[track_caller]
    pub fn launched(&mut self) -> Launched {
        let status = self.ended().code();
        let read = |name| fs::read_to_string(self.world.path(name)).unwrap();
        Launched { status, stdout: read("stdout"), stderr: read("stderr") }
    }

    /// The status of a `--sync` monitor: code, or minus the signal that ended it.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        assert!(self.synchronous);
        let status = self.ended();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }

    /// The monitor itself, whichever process that is.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        match self.synchronous {
            true => self.launched_pid(),
            false => await_file(&self.world.path("conmon.pid")).parse().unwrap(),
        }
    }

    /// The container's pid as reported on the sync pipe.
    #[track_caller]
    pub fn container(&self) -> i32 {
        let message: Value = serde_json::from_str(&self.sync().text()).unwrap();
        let number = message.get("data").or(message.get("pid")).and_then(Value::as_i64);
        i32::try_from(number.unwrap()).unwrap()
    }

    /// Waits for the monitor's end.
    #[track_caller]
    pub fn await_end(&mut self) {
        if self.synchronous {
            self.ended();
        } else {
            self.ended();
            let pid = self.pid();
            await_fact("the monitor's end", || (!alive(pid)).then_some(()));
        }
    }

    /// Waits for the exit file and reads it.
    #[track_caller]
    pub fn exit_file(&self) -> String {
        await_file(&self.world.path("exits").join(CID))
    }

    /// The exit file, if it appears within `limit`.
    pub fn exit_file_within(&self, limit: Duration) -> Option<String> {
        let path = self.world.path("exits").join(CID);
        within(limit, || fs::read_to_string(&path).ok())
    }

    /// Waits until the log has a line with `text`, also in pieces.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let found = within(DEADLINE, || {
            let whole = self.world.log().iter().any(|line| line.contains(text));
            let streams = ["stdout", "stderr"].map(|stream| self.world.output(stream));
            (whole || streams.iter().any(|output| output.contains(text))).then_some(())
        });
        assert!(found.is_some(), "no {text:?} in {:?}", self.world.log());
    }
}
