//! Scenarios: plain data read from `fixtures/scenarios/AREA/BEHAVIOUR.toml`.
//!
//! What a key means is described in `docs/compat.md`. Whatever is not understood is refused
//! with file, line and reason: an unknown key, placeholder, step or a step that cannot happen.

mod check;
pub mod load;
pub mod options;
pub mod placeholder;
pub mod step;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use step::Step;

/// Seconds a scenario may take before it is ended and reported as hanging.
const DEADLINE_SECONDS: f64 = 20.0;

/// One scenario, checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// `area/behaviour`, from the place of the file.
    pub name: String,
    pub path: PathBuf,
    /// The file as it was read: what is played is what was loaded, whatever is written into it meanwhile.
    pub text: String,
    pub data: Data,
    pub steps: Vec<Line>,
    /// Of what makes the observation, and not of what judges it.
    pub fingerprint: String,
}

/// A step and the line it was written as.
#[derive(Debug, Clone)]
pub struct Line {
    pub text: String,
    pub step: Step,
}

/// The keys of a scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub why: String,
    /// Rules of `docs/specification` that this scenario shows, as `LOG-12`; ours name at least one.
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default = "real_runtimes")]
    pub runtimes: Vec<RuntimeKind>,
    /// Versions of the reference that know this behaviour; for others only the candidate runs.
    pub reference: Option<semver::VersionReq>,
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Why no container runs; without it one must.
    pub no_container: Option<String>,
    #[serde(default = "default_deadline")]
    pub deadline: f64,
    #[serde(default)]
    pub container: Container,
    #[serde(default)]
    pub monitor: Monitor,
    #[serde(default)]
    pub exec: BTreeMap<String, Monitor>,
    /// More monitors for the same container identity, as after a restart.
    #[serde(default)]
    pub create: BTreeMap<String, Monitor>,
    /// The stand-in runtime's script, handed on as it is.
    pub standin: Option<toml::Table>,
    /// Small file systems, to be filled.
    #[serde(default)]
    pub mounts: Vec<SmallMount>,
    pub steps: Vec<Spanned<String>>,
    /// Compared besides what always is.
    #[serde(default)]
    pub also: Vec<String>,
    #[serde(default)]
    pub ignore: Vec<Excuse>,
    #[serde(default)]
    pub unordered: Vec<Excuse>,
    /// Lists of log lines in which partial lines are put together first.
    #[serde(default)]
    pub joined: Vec<Excuse>,
    #[serde(default)]
    pub allowed: Vec<Allowed>,
    #[serde(default)]
    pub expect: Vec<Expect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    Crun,
    Runc,
    Standin,
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Standin => "standin",
        })
    }
}

/// What a host must offer; otherwise the scenario is skipped with that reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    MemoryCgroup,
    CgroupV1,
    CgroupV2,
    SysResource,
    Criu,
}

/// The container. Written as a list of words it is only `argv`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(from = "ContainerForm")]
pub struct Container {
    pub argv: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<u32>,
    pub memory: Option<u64>,
    pub notify: bool,
    /// Merged into config.json as it is.
    pub oci: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of words, or a table with `argv`")]
enum ContainerForm {
    Argv(Vec<String>),
    Table(ContainerTable),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ContainerTable {
    argv: Vec<String>,
    tty: bool,
    stdin: bool,
    env: Vec<String>,
    cwd: Option<String>,
    user: Option<u32>,
    memory: Option<u64>,
    notify: bool,
    oci: Option<toml::Table>,
}

impl From<ContainerForm> for Container {
    fn from(form: ContainerForm) -> Self {
        let table = match form {
            ContainerForm::Argv(argv) => ContainerTable { argv, ..Default::default() },
            ContainerForm::Table(table) => table,
        };
        let ContainerTable { argv, tty, stdin, env, cwd, user, memory, notify, oci } = table;
        let argv = if argv.is_empty() { vec!["true".into()] } else { argv };
        Self { argv, tty, stdin, env, cwd, user, memory, notify, oci }
    }
}

impl Default for Container {
    fn default() -> Self {
        ContainerForm::Argv(Vec::new()).into()
    }
}

/// Who starts the monitor, which decides its default arguments and pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    #[default]
    Podman,
    Crio,
    /// Nobody in particular: the required options and no pipes.
    Bare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PipeKind {
    Seqpacket,
    Stream,
    Pipe,
    None,
}

/// What stands behind a standard stream of the launched process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdio {
    Pipe,
    Null,
    Tty,
    Closed,
}

/// One monitor: how it is called.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitor {
    pub caller: Option<Caller>,
    pub log: Option<OneOrMany>,
    pub log_level: Option<String>,
    pub args: Vec<String>,
    pub without: Vec<String>,
    /// The whole command line after argv[0]; nothing is added.
    pub argv: Option<Vec<String>>,
    pub cid: Option<String>,
    pub cuuid: Option<String>,
    pub env: BTreeMap<String, String>,
    pub unset: Vec<String>,
    pub cwd: Option<String>,
    pub umask: Option<String>,
    pub oom_score_adj: Option<i32>,
    pub drop_sys_resource: bool,
    pub exit_command: Option<ExitCommand>,
    pub pipes: Option<PipeKind>,
    pub sync_fd: Option<i32>,
    pub start_pipe: Option<bool>,
    pub stdin_from: Option<Stdio>,
    pub stdout_to: Option<Stdio>,
    pub stderr_to: Option<Stdio>,
    pub fds: Vec<ExtraFd>,
    pub ignore_signals: Vec<String>,
    pub block_signals: Vec<String>,
    /// Exec sessions: the process inside the container.
    pub process: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub process_env: Vec<String>,
    pub process_cwd: Option<String>,
    /// Exec sessions: the process spec, word for word.
    pub spec: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// `true`, `false`, or the recorder's further arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ExitCommand {
    Wanted(bool),
    Arguments(Vec<String>),
}

/// A descriptor the caller leaves open in the monitor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraFd {
    pub fd: i32,
    pub kind: ExtraFdKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtraFdKind {
    PipeRead,
    PipeWrite,
    Socket,
    File,
    Null,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallMount {
    pub at: String,
    /// Bytes.
    pub size: u64,
}

/// A path that is left out of the comparison, or compared less strictly, and why that is right.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excuse {
    pub path: String,
    pub why: String,
}

/// A legitimate race: each side must show one of these values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    pub path: String,
    pub values: Vec<toml::Value>,
    pub why: String,
}

/// A fact that must hold whatever the reference does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub path: String,
    #[serde(default)]
    pub of: Side,
    pub is: Option<toml::Value>,
    pub has: Option<String>,
    pub lacks: Option<String>,
    pub glob: Option<String>,
    pub one_of: Option<Vec<toml::Value>>,
    pub absent: Option<bool>,
    pub count: Option<usize>,
    pub at_least: Option<f64>,
    pub at_most: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    #[default]
    Candidate,
    Both,
}

fn real_runtimes() -> Vec<RuntimeKind> {
    vec![RuntimeKind::Crun, RuntimeKind::Runc]
}

fn default_deadline() -> f64 {
    DEADLINE_SECONDS
}

impl Data {
    /// Whether a container or a session has a terminal. The kernel hands out a line of one and its end in one read or in two.
    pub fn has_terminal(&self) -> bool {
        self.container.tty || self.exec.values().any(|session| session.tty)
    }
}

impl Scenario {
    /// The monitor a step names; `main`, an exec session or another create.
    pub fn monitor(&self, name: &str) -> Option<&Monitor> {
        match name {
            "main" => Some(&self.data.monitor),
            _ => self.data.exec.get(name).or_else(|| self.data.create.get(name)),
        }
    }

    /// Whether this monitor is an exec session.
    pub fn is_exec(&self, name: &str) -> bool {
        self.data.exec.contains_key(name)
    }

    pub fn area(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}
