//! Where everything of a world lies.
//!
//! Each run has a mount namespace of its own, so these paths are the same in every run and on
//! every host: what both monitors are told is equal to the byte, and no path needs normalising.

use std::collections::BTreeMap;

use crate::scenario::RuntimeKind;

/// The root of a world, a tmpfs of its own.
pub const ROOT: &str = "/run/compat";
pub const BIN: &str = "/run/compat/bin";
pub const MONITOR: &str = "/run/compat/bin/conmon";
pub const PAYLOAD: &str = "/payload";
pub const EXIT_RECORDER: &str = "/run/compat/bin/exit-recorder";
pub const RECORDER: &str = "/run/compat/bin/recording-runtime";
pub const BUNDLE: &str = "/run/compat/bundle";
pub const ROOTFS: &str = "/run/compat/rootfs";
pub const LOG_DIR: &str = "/run/compat/logs";
pub const LOG: &str = "/run/compat/logs/ctr.log";
pub const EXIT_DIR: &str = "/run/compat/exits";
pub const PERSIST_DIR: &str = "/run/compat/persist";
pub const SOCKET_DIR: &str = "/run/compat/sockets";
pub const RUN_DIR: &str = "/run/compat/run";
pub const PIDFILE: &str = "/run/compat/run/pidfile";
pub const CONMON_PIDFILE: &str = "/run/compat/run/conmon.pid";
pub const TMP: &str = "/run/compat/tmp";
pub const SHARED: &str = "/run/compat/shared";
pub const CWD: &str = "/run/compat/cwd";
pub const NOTIFY: &str = "/run/compat/notify.sock";
pub const RUNTIME_CALLS: &str = "/run/compat/record/runtime";
pub const EXIT_CALLS: &str = "/run/compat/record/exit";
pub const RUNTIME_ROOT: &str = "/run/compat/runtime-root";
/// Names the fault to show, where there is one.
pub const FAULT: &str = "/run/compat-fault";
pub const FAULT_LIBRARY: &str = "/run/compat-fault.so";
pub const JOURNAL: &str = "/run/systemd/journal/socket";
pub const SYSLOG: &str = "/dev/log";

/// Sixty-four hexadecimal digits, as the callers use.
pub const CID: &str = "c0ffee00112233445566778899aabbccddeeff00112233445566778899aabbcc";
pub const NAME: &str = "quiet_container";

/// The directories whose content over time is observed, each by a short name.
pub const WATCHED: &[(&str, &str)] = &[
    ("bundle", BUNDLE),
    ("logs", LOG_DIR),
    ("exits", EXIT_DIR),
    ("persist", PERSIST_DIR),
    ("sockets", SOCKET_DIR),
    ("run", RUN_DIR),
    ("tmp", TMP),
    ("cwd", CWD),
];

/// The recording wrapper that the monitor is given as runtime.
pub fn runtime(kind: RuntimeKind) -> String {
    format!("{BIN}/{kind}")
}

/// The directory an exec session has for itself, as Podman lays it out.
pub fn session_bundle(session: &str) -> String {
    format!("{BUNDLE}/{session}")
}

/// The values of the placeholders for one monitor of a scenario.
pub fn placeholders(
    runtime_kind: RuntimeKind,
    cid: &str,
    cuuid: &str,
    session: Option<&str>,
) -> BTreeMap<&'static str, String> {
    let mut values: BTreeMap<&'static str, String> = [
        ("root", ROOT),
        ("bundle", BUNDLE),
        ("rootfs", ROOTFS),
        ("log", LOG),
        ("log_dir", LOG_DIR),
        ("exit_dir", EXIT_DIR),
        ("persist_dir", PERSIST_DIR),
        ("socket_dir", SOCKET_DIR),
        ("cid", cid),
        ("cuuid", cuuid),
        ("name", NAME),
        ("tmp", TMP),
        ("run", RUN_DIR),
        ("pidfile", PIDFILE),
        ("conmon_pidfile", CONMON_PIDFILE),
        ("shared", SHARED),
        ("cwd", CWD),
        ("notify", NOTIFY),
        ("bin", BIN),
        ("monitor", MONITOR),
        ("payload", PAYLOAD),
        ("exit_recorder", EXIT_RECORDER),
        ("exit_records", EXIT_CALLS),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_string()))
    .collect();
    values.insert("runtime", runtime(runtime_kind));
    let session_bundle = session.map_or_else(|| BUNDLE.to_string(), session_bundle);
    values.insert("process_spec", format!("{session_bundle}/process.json"));
    if session.is_some() {
        values.insert("pidfile", format!("{session_bundle}/exec_pid"));
        values.insert("exit_dir", format!("{session_bundle}/exit"));
        values.insert("persist_dir", format!("{session_bundle}/persist/{cid}"));
        values.insert("log", format!("{session_bundle}/exec.log"));
    }
    values.insert("session_bundle", session_bundle);
    values
}
