//! What the command line means: plain checked data, built once before anything is touched.

mod check;
pub(crate) mod log_path;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use check::{Refusal, System, diagnostics};

/// Everything a monitor is asked to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) cid: OsString,
    /// Names the attach socket's symlink; unset only for a legacy exec session.
    pub(crate) cuuid: Option<OsString>,
    pub(crate) operation: Operation,
    pub(crate) api: Api,
    /// As given, never made absolute; unset only for an exec session without `--bundle`.
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) container_pidfile: PathBuf,
    pub(crate) conmon_pidfile: Option<PathBuf>,
    pub(crate) exit_dir: Option<PathBuf>,
    pub(crate) persist_dir: Option<PathBuf>,
    pub(crate) exit_command: Option<ExitCommand>,
    pub(crate) runtime: Runtime,
    pub(crate) log: LogConfig,
    pub(crate) attach_place: AttachPlace,
    pub(crate) sdnotify_socket: Option<PathBuf>,
    pub(crate) stdin: bool,
    pub(crate) leave_stdin_open: bool,
    pub(crate) terminal: bool,
    /// Stay the caller's child instead of forking into the background.
    pub(crate) sync: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) replace_listen_pid: bool,
}

impl Config {
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self.operation, Operation::Exec { .. })
    }
}

/// Which words the sync pipe uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Legacy,
    V1,
}

impl Api {
    /// The level of a caller that gave `--api-version`, or did not.
    pub(crate) fn given(version: bool) -> Self {
        if version { Self::V1 } else { Self::Legacy }
    }
}

/// What the runtime is asked to do.
#[derive(Debug)]
pub(crate) enum Operation {
    Create,
    Restore { image: PathBuf },
    Exec { process_spec: PathBuf, attach: bool },
}

/// The OCI runtime and what is passed through to it.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// `--runtime-opt` and `--restore-arg` in command-line order.
    pub(crate) opts: Vec<OsString>,
    pub(crate) systemd_cgroup: bool,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
}

/// Where the attach socket is reachable.
#[derive(Debug)]
pub(crate) enum AttachPlace {
    /// `--full-attach`: in the bundle itself.
    Bundle,
    /// Through the symlink `<dir>/<cuuid>`, which points to the bundle.
    SocketDir(PathBuf),
}

/// What runs after the container.
#[derive(Debug)]
pub(crate) struct ExitCommand {
    pub(crate) path: PathBuf,
    /// argv\[1..\].
    pub(crate) args: Vec<OsString>,
    pub(crate) delay: Duration,
}

/// The log drivers, after the grammar of `--log-path` (but before anything is opened).
#[derive(Debug, Default)]
pub(crate) struct LogConfig {
    pub(crate) k8s_file: Option<PathBuf>,
    /// How many k8s-file paths were given; only the last is used.
    pub(crate) k8s_file_count: usize,
    pub(crate) journald: bool,
    pub(crate) passthrough: bool,
    /// `None`: unlimited.
    pub(crate) size_max: Option<u64>,
    pub(crate) global_size_max: Option<u64>,
    pub(crate) rotate: bool,
    pub(crate) max_files: u32,
    pub(crate) allowlist_dirs: Vec<PathBuf>,
    pub(crate) tag: Option<OsString>,
    pub(crate) labels: Vec<OsString>,
    pub(crate) name: Option<OsString>,
    pub(crate) no_partial_message: bool,
    /// fsync the k8s-file at exit.
    pub(crate) sync: bool,
}
