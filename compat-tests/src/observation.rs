//! Everything seen in one run, as ordered data that prints and reloads.
//!
//! Two observations are compared field by field; a field's place in here is its name in
//! scenarios and in `fixtures/divergences.toml` (`monitors.main.launch.status`). Bytes are
//! kept as text with escapes. What is under `internal` or called `packets` depends on the
//! build or on chance and is compared only where a scenario asks for it (`also`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Fields that are recorded but not compared unless a scenario names them under `also`.
pub const INTERNAL: &[&str] =
    &["monitors.*.look.*.internal", "clients.*.packets", "logs.**.chunks", "hang", "notes"];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    pub monitors: BTreeMap<String, MonitorSeen>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<String, ClientSeen>,
    /// By role: `main`, `main.1` (a backup), `one` (an exec session's log).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub logs: BTreeMap<String, LogSeen>,
    /// The tree of the watched directories, at `created`, at each `look` and at the `end`.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// What happened in each watched directory, in order.
    pub events: BTreeMap<String, Vec<String>>,
    /// Order between directories: which exit file came first, and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    pub runtime: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit_commands: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syslog: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Datagram>,
    /// What the suite's own calls of the runtime said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtime_output: Vec<String>,
    /// `running`, `gone`, ... for each container or exec'd process, when the last step is done.
    pub containers: BTreeMap<String, String>,
    /// Steps that could not be done, with the reason, and waits that were not met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
    /// The state of whatever still ran when the deadline came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hang: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How an entry of `unmet` begins when the scenario's deadline ended the play.
pub const DEADLINE: &str = "deadline at step ";

impl Observation {
    /// Whether the deadline ended the play.
    pub fn hangs(&self) -> bool {
        self.unmet.iter().any(|line| line.starts_with(DEADLINE))
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitorSeen {
    pub launch: LaunchSeen,
    /// What came through the sync pipe; one entry a packet, or one for all of a stream.
    pub reports: Vec<String>,
    /// `eof`, `open`, or an error.
    pub reports_end: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attach_reports: Vec<String>,
    /// How the monitor itself ended: `exited 0`, `killed by SIGKILL`, `running`, `never seen`.
    pub end: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub look: BTreeMap<String, ProcessSeen>,
}

/// The process the caller started, until it ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LaunchSeen {
    /// `exited 1`, `killed by SIGTERM`, `running`.
    pub status: String,
    pub stdout: String,
    pub stderr: String,
    /// What was written and closed before and after the first process ended, the container
    /// started (an exec'd process: was reported) and the container ended.
    pub order: Vec<String>,
    /// The part of it that came after the first process had ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdout_late: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr_late: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSeen {
    pub comm: String,
    pub exe: String,
    pub cmdline: Vec<String>,
    /// `init` when it is nobody's child any more, `suite` when it is still the caller's.
    pub parent: String,
    pub group_leader: bool,
    pub session_leader: bool,
    pub cwd: String,
    pub umask: String,
    pub oom_score_adj: String,
    pub environ_kept: bool,
    pub signals_ignored: Vec<String>,
    /// Descriptors 0 to 2: what they are and how they are opened.
    pub stdio: Vec<String>,
    /// Which of the caller's own descriptors are still open.
    pub inherited: Vec<String>,
    pub namespaces_kept: bool,
    pub internal: ProcessInternal,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInternal {
    pub state: String,
    pub threads: String,
    pub signals_blocked: Vec<String>,
    pub signals_caught: Vec<String>,
    /// Descriptors from 3 on, by kind, sorted.
    pub descriptors: Vec<String>,
    pub descriptor_count: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientSeen {
    pub monitor: String,
    /// `yes`, or why not.
    pub connected: String,
    pub stdout: String,
    pub stderr: String,
    /// Packets that are not a type byte 2 or 3 and at most 8192 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub odd_packets: Vec<String>,
    /// `eof`, `reset`, `open`, `hung up` (by the client itself).
    pub end: String,
    /// What came of each send, unless it was taken whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub send_problems: Vec<String>,
    pub packets: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSeen {
    pub mode: String,
    /// Each line; the time, when well-formed and in order, as `[TIME+00:00]`.
    pub lines: Vec<String>,
    /// What the lines say, put together again for each stream.
    pub text: BTreeMap<String, String>,
    /// How many lines share each timestamp.
    pub chunks: Vec<usize>,
    /// Times that are malformed, in the future, or earlier than the line before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_times: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalEntry {
    pub from: String,
    /// `NAME=value` in the order of the wire; `NAME<binary>=value` in the length form.
    pub fields: Vec<String>,
    /// The line of the sender's source, which any change of it shifts; `fields` has its place.
    pub code_line: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Datagram {
    pub from: String,
    pub text: String,
}
