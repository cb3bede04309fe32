//! What the stage is asked to do and what it saw: plain data, as both sides of the pipe know it.

use serde::{Deserialize, Serialize};

/// Which process of the monitor makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The process the caller starts, if it is not the monitor itself.
    Launched,
    Monitor,
    /// Whatever the monitor forks, until it executes a program.
    Child,
}

/// One system call of a life, by its place: the `position`-th call of this name and role, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Call {
    pub role: Role,
    pub name: String,
    pub position: u32,
    /// What kind of call it is, where that decides how it may fail: `creat`, `dup`.
    pub detail: String,
}

/// What is to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub call: Call,
    pub errno: i32,
    /// All later calls of the name and role fail as well.
    pub for_ever: bool,
}

/// One life to be played.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub monitor: String,
    pub life: String,
    pub fault: Option<Fault>,
}

/// What one reader got of what was written for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub expected_bytes: usize,
    /// How much of it came, up to the first byte that is another.
    pub right_bytes: usize,
    /// Whether more came than that.
    pub differs: bool,
}

/// What was seen of one life. Times are milliseconds since the container was told to finish.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The calls the monitor made, in order.
    pub calls: Vec<Call>,
    /// How many system calls of any name the monitor made.
    pub call_count: u64,
    pub cpu_ms: u64,
    /// Whether the fault was met.
    pub reached: bool,
    /// How the launched process and the monitor ended: a status, 128 and more for signals.
    pub launched: Option<i32>,
    pub monitor: Option<i32>,
    pub monitor_ended_ms: Option<u64>,
    /// What the caller was told: of the creation, and for sessions of the end.
    pub report: Option<i64>,
    pub report_text: String,
    pub exit_report: Option<i64>,
    /// Whether the sync pipe came to its end.
    pub sync_ended: bool,
    pub container_ran: bool,
    /// Whether the container did not finish and had to be killed.
    pub starved: bool,
    pub exit_file: Option<String>,
    pub exit_file_ms: Option<u64>,
    pub persist_file: Option<String>,
    pub exit_commands: usize,
    /// By the reader's name: `log stdout`, `journal stdout`, `client a`, `stdin`, `notify`.
    pub deliveries: std::collections::BTreeMap<String, Delivery>,
    /// Records of the log that are none.
    pub torn_records: usize,
    /// What the monitor said on stderr and in the system log.
    pub said: Vec<String>,
    /// Names left in the container's directories.
    pub names: Vec<String>,
    /// Processes left over.
    pub processes: Vec<String>,
    /// Why the stage itself could not go on.
    pub broken: Option<String>,
}
