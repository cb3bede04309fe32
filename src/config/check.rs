//! From what was typed to what it means, with every check in the order callers know.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::AccessFlags;

use super::log_path;
use super::{Api, AttachPlace, Config, ExitCommand, LogConfig, Operation, Runtime};
use crate::cli::Options;
use crate::diagnostics::{Diagnostics, Level, Syslog};
use crate::failure::{Failure, concat};

const DEFAULT_LOG_LEVEL: Level = Level::Warning;
const DEFAULT_LOG_MAX_FILES: i32 = 1;
const DEFAULT_SOCKET_DIR: &str = "/var/run/crio";

/// Why a well-formed command line is refused; the exit status is 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For stderr as it is, and for stderr alone.
    Plain(Vec<u8>),
    /// For the diagnostics, with prefix and system log.
    Diagnosed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Diagnosed(failure)
    }
}

/// What the checks ask the system.
pub(crate) trait Environment {
    /// Whether this process may execute `path`.
    fn check_executable(&self, path: &Path) -> Result<(), Errno>;
    fn working_dir(&self) -> Result<PathBuf, Errno>;
}

/// The real system.
pub(crate) struct System;

impl Environment for System {
    fn check_executable(&self, path: &Path) -> Result<(), Errno> {
        nix::unistd::access(path, AccessFlags::X_OK)
    }

    fn working_dir(&self) -> Result<PathBuf, Errno> {
        nix::unistd::getcwd()
    }
}

/// The diagnostics that `options` ask for, before they have been checked.
pub(crate) fn diagnostics(options: &Options) -> Diagnostics {
    let level = level(options).unwrap_or(DEFAULT_LOG_LEVEL);
    let syslog = options.syslog.then(|| {
        let cid = options.cid.as_ref().map_or(&b""[..], |cid| cid.as_bytes());
        let tag = options.log_tag.as_ref().map(|tag| tag.as_bytes());
        Syslog::new(options.program_name(), cid, tag)
    });
    Diagnostics::new(level, syslog)
}

impl Config {
    /// Checks `options` and says what they mean. Opens and changes nothing.
    ///
    /// # Errors
    ///
    /// The first of possibly several mistakes; callers rely on which one that is.
    #[inline(never)]
    pub(crate) fn from_options(
        options: Options,
        environment: &dyn Environment,
    ) -> Result<Self, Refusal> {
        let max_files = log_max_files(&options)?;
        let Some(cid) = options.cid.clone() else {
            return Err(plain("Container ID not provided. Use --cid"));
        };
        level(&options)?;
        check_session(&options)?;
        let Some(runtime) = options.runtime else {
            return Err(Failure::new("Runtime path not provided. Use --runtime").into());
        };
        if let Err(errno) = environment.check_executable(Path::new(&runtime)) {
            let text = concat(&[b"Runtime path ", runtime.as_bytes(), b" is not valid"]);
            return Err(Failure::with_errno(text, errno).into());
        }
        let operation = match (options.exec, options.exec_process_spec, options.restore) {
            (true, None, _) => {
                let text = "Exec process spec path not provided. Use --exec-process-spec";
                return Err(Failure::new(text).into());
            }
            (true, Some(spec), _) => {
                Operation::Exec { process_spec: spec.into(), attach: options.exec_attach }
            }
            (false, _, Some(image)) => Operation::Restore { image: image.into() },
            (false, _, None) => Operation::Create,
        };
        let working_dir = environment
            .working_dir()
            .map_err(|_| Failure::new("Failed to get working directory"))?;
        let exit_delay = u64::try_from(options.exit_delay.unwrap_or(0)).map_err(|_| {
            Failure::new("Delay before invoking exit command must be greater than or equal to 0")
        })?;

        let mut log = LogConfig {
            size_max: options.log_size_max.and_then(limit),
            global_size_max: options.log_global_size_max.and_then(limit),
            rotate: options.log_rotate,
            max_files,
            allowlist_dirs: options.log_allowlist_dirs.into_iter().map(PathBuf::from).collect(),
            tag: options.log_tag,
            labels: options.log_labels,
            name: options.name,
            no_partial_message: options.no_container_partial_message,
            sync: !options.no_sync_log,
            ..LogConfig::default()
        };
        log_path::select(options.log_paths, &mut log)?;

        let attach_place = if options.full_attach {
            AttachPlace::Bundle
        } else {
            let dir = options.socket_dir_path.unwrap_or_else(|| DEFAULT_SOCKET_DIR.into());
            AttachPlace::SocketDir(dir.into())
        };
        let bundle = match (options.bundle, options.exec) {
            (Some(bundle), _) => Some(bundle.into()),
            (None, true) => None,
            (None, false) => Some(working_dir.clone()),
        };
        let container_pidfile = options
            .container_pidfile
            .map_or_else(|| default_pidfile(&working_dir, &cid), PathBuf::from);

        let config = Self {
            cid,
            cuuid: options.cuuid,
            operation,
            api: Api::given(options.api_version),
            bundle,
            container_pidfile,
            conmon_pidfile: options.conmon_pidfile.map(PathBuf::from),
            exit_dir: options.exit_dir.map(PathBuf::from),
            persist_dir: options.persist_dir.map(PathBuf::from),
            exit_command: options.exit_command.map(|path| ExitCommand {
                path: path.into(),
                args: options.exit_command_args,
                delay: Duration::from_secs(exit_delay),
            }),
            runtime: Runtime {
                path: runtime.into(),
                args: options.runtime_args,
                opts: options.runtime_opts,
                systemd_cgroup: options.systemd_cgroup,
                no_pivot: options.no_pivot,
                no_new_keyring: options.no_new_keyring,
            },
            log,
            attach_place,
            sdnotify_socket: options.sdnotify_socket.map(PathBuf::from),
            stdin: options.stdin,
            leave_stdin_open: options.leave_stdin_open,
            terminal: options.terminal,
            sync: options.sync,
            timeout: options
                .timeout
                .and_then(|seconds| limit(seconds.into()))
                .map(Duration::from_secs),
            replace_listen_pid: options.replace_listen_pid,
        };
        config.check_endpoints()?;
        Ok(config)
    }

    /// Refuses what could only fail later and less clearly, when the endpoints are made.
    fn check_endpoints(&self) -> Result<(), Failure> {
        let symlink = matches!(self.attach_place, AttachPlace::SocketDir(_));
        // Without a name the symlink's path would be the socket directory itself.
        if symlink && self.bundle.is_some() && !self.log.passthrough && self.cuuid.is_none() {
            return Err(no_cuuid());
        }
        if self.sdnotify_socket.is_some() && self.bundle.is_none() {
            return Err(Failure::new("--sdnotify-socket needs a bundle"));
        }
        Ok(())
    }
}

fn plain(text: &str) -> Refusal {
    Refusal::Plain([b"conmon: ", text.as_bytes(), b"\n"].concat())
}

fn no_cuuid() -> Failure {
    Failure::new("Container UUID not provided. Use --cuuid")
}

/// How many backups a rotation keeps; checked even where nothing rotates.
fn log_max_files(options: &Options) -> Result<u32, Refusal> {
    let count = options.log_max_files.unwrap_or(DEFAULT_LOG_MAX_FILES);
    let Ok(count) = u32::try_from(count) else {
        return Err(plain(&format!("log-max-files must be non-negative, got {count}")));
    };
    if options.log_rotate && count == 0 {
        let text = "log-max-files must be at least 1 when log-rotate is enabled, got 0";
        return Err(plain(text));
    }
    Ok(count)
}

/// What kind of session this is, and whether it has the names that it needs.
fn check_session(options: &Options) -> Result<(), Failure> {
    if options.restore.is_some() && options.exec {
        return Err(Failure::new("Cannot use 'exec' and 'restore' at the same time"));
    }
    if options.exec_attach && !options.exec {
        return Err(Failure::new("Attach can only be specified with exec"));
    }
    if options.exec_attach && !options.api_version {
        let text = "Attach can only be specified for a non-legacy exec session";
        return Err(Failure::new(text));
    }
    let legacy_exec = options.exec && !options.api_version;
    if options.cuuid.is_none() && !legacy_exec {
        return Err(no_cuuid());
    }
    Ok(())
}

/// The level that `--log-level` names; warnings by default.
pub(super) fn level(options: &Options) -> Result<Level, Failure> {
    let Some(name) = &options.log_level else { return Ok(DEFAULT_LOG_LEVEL) };
    match name.as_bytes().to_ascii_lowercase().as_slice() {
        b"error" | b"fatal" | b"panic" => Ok(Level::Error),
        b"warn" | b"warning" => Ok(Level::Warning),
        b"info" => Ok(Level::Info),
        b"debug" => Ok(Level::Debug),
        b"trace" => Ok(Level::Trace),
        _ => Err(Failure::new(concat(&[b"No such log level ", name.as_bytes()]))),
    }
}

/// A positive number is a limit, every other means that there is none.
fn limit(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn default_pidfile(working_dir: &Path, cid: &OsString) -> PathBuf {
    // Not `Path::join`: an id that begins with a slash must not replace the directory.
    let path = [working_dir.as_os_str().as_bytes(), b"/pidfile-", cid.as_bytes()].concat();
    OsString::from_vec(path).into()
}
