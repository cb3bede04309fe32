//! Tables of command lines and what they mean or are refused with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use rstest::rstest;

use super::check::{Environment, level};
use super::*;
use crate::cli::{self, Options, Outcome};
use crate::diagnostics::Level;
use crate::failure::Failure;

/// A system where only `/runtime` may be executed.
struct Fake {
    working_dir: Result<&'static str, Errno>,
}

impl Environment for Fake {
    fn check_executable(&self, path: &Path) -> Result<(), Errno> {
        if path == Path::new("/runtime") { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn working_dir(&self) -> Result<PathBuf, Errno> {
        self.working_dir.map(PathBuf::from)
    }
}

const HOST: Fake = Fake { working_dir: Ok("/cwd") };

fn options(line: &str) -> Options {
    match cli::parse(["conmon"].into_iter().chain(line.split_whitespace()).map(OsString::from)) {
        Outcome::Run(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn check(line: &str) -> Result<Config, Refusal> {
    Config::from_options(options(line), &HOST)
}

/// The configuration of a correct line that ends with `more`.
fn config(more: &str) -> Config {
    check(&format!("-c ID -u UUID -r /runtime -l none {more}")).unwrap()
}

#[rstest]
#[case::negative_file_count("--log-max-files=-3", "log-max-files must be non-negative, got -3")]
#[case::file_count_before_cid(
    "--log-max-files=-1 --log-rotate",
    "log-max-files must be non-negative, got -1"
)]
#[case::rotation_into_nothing(
    "--log-rotate --log-max-files=0",
    "log-max-files must be at least 1 when log-rotate is enabled, got 0"
)]
#[case::no_cid("-u u --log-level bogus", "Container ID not provided. Use --cid")]
#[case::no_cid_but_a_file_count("--log-max-files=0", "Container ID not provided. Use --cid")]
fn refuses_plainly(#[case] line: &str, #[case] text: &'static str) {
    let expected = Refusal::Plain(format!("conmon: {text}\n").into_bytes());
    assert_eq!(check(line).unwrap_err(), expected);
}

/// Each line also holds the mistakes of all later rows, as far as they can be combined.
#[rstest]
#[case::level("-c x --log-level=Loud --restore y -e", "No such log level Loud")]
#[case::empty_level("-c x --log-level=", "No such log level ")]
#[case::restore_and_exec(
    "-c x --restore y -e --exec-attach",
    "Cannot use 'exec' and 'restore' at the same time"
)]
#[case::attach_alone("-c x --exec-attach", "Attach can only be specified with exec")]
#[case::attach_legacy(
    "-c x -e --exec-attach",
    "Attach can only be specified for a non-legacy exec session"
)]
#[case::no_cuuid("-c x", "Container UUID not provided. Use --cuuid")]
#[case::no_cuuid_for_exec("-c x -e --api-version", "Container UUID not provided. Use --cuuid")]
#[case::no_runtime("-c x -u y -e", "Runtime path not provided. Use --runtime")]
#[case::no_runtime_legacy_exec("-c x -e", "Runtime path not provided. Use --runtime")]
#[case::no_spec(
    "-c x -e -r /runtime --exit-delay=-1",
    "Exec process spec path not provided. Use --exec-process-spec"
)]
#[case::delay(
    "-c x -u y -r /runtime --exit-delay=-1",
    "Delay before invoking exit command must be greater than or equal to 0"
)]
#[case::no_log("-c x -u y -r /runtime", "Log driver not provided. Use --log-path")]
#[case::bad_log("-c x -u y -r /runtime -l none -l foo:bar -l :", "No such log driver foo")]
#[case::exec_without_a_name_for_the_symlink(
    "-c x -e -r /runtime --exec-process-spec s -l none -b /b",
    "Container UUID not provided. Use --cuuid"
)]
#[case::notify_without_bundle(
    "-c x -e -r /runtime --exec-process-spec s -l none --sdnotify-socket n",
    "--sdnotify-socket needs a bundle"
)]
fn refuses(#[case] line: &str, #[case] text: &'static str) {
    assert_eq!(check(line).unwrap_err(), Refusal::Diagnosed(Failure::new(text)));
}

#[test]
fn refuses_a_runtime_that_cannot_be_executed() {
    let expected = Failure::with_errno("Runtime path foo is not valid", Errno::ENOENT);
    let refusal = check("-c x -u y -e --api-version -r foo").unwrap_err();
    assert_eq!(refusal, Refusal::Diagnosed(expected));
}

#[test]
fn refuses_a_missing_working_directory_even_where_it_is_not_needed() {
    let host = Fake { working_dir: Err(Errno::ENOENT) };
    let line = "-c x -u y -r /runtime -l none -b /b -p /p --exit-delay=-1";
    let refusal = Config::from_options(options(line), &host).unwrap_err();
    assert_eq!(refusal, Refusal::Diagnosed(Failure::new("Failed to get working directory")));
}

#[test]
fn fills_in_the_defaults() {
    let config = config("");
    assert_eq!((config.cid, config.cuuid), ("ID".into(), Some("UUID".into())));
    assert!(matches!(config.operation, Operation::Create));
    assert_eq!(config.api, Api::Legacy);
    assert_eq!(config.bundle, Some("/cwd".into()));
    assert_eq!(config.container_pidfile, Path::new("/cwd/pidfile-ID"));
    assert!(
        matches!(config.attach_place, AttachPlace::SocketDir(dir) if dir == Path::new("/var/run/crio"))
    );
    assert!(config.exit_command.is_none() && config.timeout.is_none());
    assert_eq!((config.log.size_max, config.log.global_size_max), (None, None));
    assert_eq!((config.log.max_files, config.log.rotate, config.log.sync), (1, false, true));
    assert_eq!(config.log.k8s_file_count, 0);
}

#[rstest]
#[case::create("", "Create")]
#[case::restore("--restore=/image", r#"Restore { image: "/image" }"#)]
#[case::restore_from_an_empty_path("--restore=", r#"Restore { image: "" }"#)]
#[case::spec_without_exec("--exec-process-spec=s", "Create")]
#[case::exec("-e --exec-process-spec=s", r#"Exec { process_spec: "s", attach: false }"#)]
#[case::attached(
    "-e --exec-process-spec=s --api-version --exec-attach",
    r#"Exec { process_spec: "s", attach: true }"#
)]
fn knows_the_operation(#[case] more: &str, #[case] expected: &str) {
    assert_eq!(format!("{:?}", config(more).operation), expected);
}

#[rstest]
#[case::error("error", Level::Error)]
#[case::fatal("FATAL", Level::Error)]
#[case::panic("Panic", Level::Error)]
#[case::warn("warn", Level::Warning)]
#[case::warning("Warning", Level::Warning)]
#[case::info("iNFO", Level::Info)]
#[case::debug("debug", Level::Debug)]
#[case::trace("TRACE", Level::Trace)]
fn knows_the_levels(#[case] name: &str, #[case] expected: Level) {
    assert_eq!(level(&options(&format!("--log-level={name}"))), Ok(expected));
}

#[rstest]
#[case::positive("5", Some(5))]
#[case::zero("0", None)]
#[case::negative("-5", None)]
fn a_limit_is_positive(#[case] number: &str, #[case] expected: Option<u64>) {
    let config =
        config(&format!("--log-size-max={number} --log-global-size-max={number} -T {number}"));
    assert_eq!((config.log.size_max, config.log.global_size_max), (expected, expected));
    assert_eq!(config.timeout, expected.map(Duration::from_secs));
}

#[rstest]
#[case::legacy_exec("-c x -e -r /runtime --exec-process-spec s -l none")]
#[case::legacy_exec_in_its_bundle(
    "-c x -e -r /runtime --exec-process-spec s -l none -b b --full-attach"
)]
#[case::legacy_exec_that_serves_nobody(
    "-c x -e -r /runtime --exec-process-spec s -l passthrough -b b"
)]
fn a_legacy_exec_session_needs_no_name(#[case] line: &str) {
    assert_eq!(check(line).unwrap().cuuid, None);
}

#[test]
fn an_exec_session_has_no_default_bundle() {
    let config = config("-e --exec-process-spec s");
    assert_eq!(config.bundle, None);
    assert_eq!(config.container_pidfile, Path::new("/cwd/pidfile-ID"));
}

#[test]
fn keeps_paths_as_they_were_given() {
    let config = config(
        "-b ./b/ -p p -P q --exit-dir e/ --persist-dir= --socket-dir-path s --sdnotify-socket n",
    );
    assert_eq!(config.bundle.unwrap().as_os_str(), "./b/");
    assert_eq!(config.container_pidfile.as_os_str(), "p");
    assert_eq!(config.conmon_pidfile.unwrap().as_os_str(), "q");
    assert_eq!(config.exit_dir.unwrap().as_os_str(), "e/");
    assert_eq!(config.persist_dir.unwrap().as_os_str(), "");
    assert!(matches!(config.attach_place, AttachPlace::SocketDir(dir) if dir.as_os_str() == "s"));
    assert_eq!(config.sdnotify_socket.unwrap().as_os_str(), "n");
}

#[test]
fn full_attach_ignores_the_socket_directory() {
    let place = config("--full-attach --socket-dir-path s").attach_place;
    assert!(matches!(place, AttachPlace::Bundle));
}

#[test]
fn an_id_with_a_slash_stays_in_the_working_directory() {
    let config = check("-c /x -u y -r /runtime -l none").unwrap();
    assert_eq!(config.container_pidfile.as_os_str(), "/cwd/pidfile-/x");
}

#[test]
fn collects_the_exit_command() {
    let line = "--exit-command /e --exit-command-arg=-a --exit-command-arg= --exit-delay 3";
    let command = config(line).exit_command.unwrap();
    assert_eq!(command.path, Path::new("/e"));
    assert_eq!(command.args, ["-a", ""]);
    assert_eq!(command.delay, Duration::from_secs(3));
}

#[test]
fn hands_the_log_its_settings() {
    let log = config(
        "-l /a -l /b --log-rotate --log-max-files 4 --log-allowlist-dir /v --log-allowlist-dir /w \
         --log-tag T --log-label A=1 --log-label B=2 -n N --no-container-partial-message --no-sync-log",
    )
    .log;
    assert_eq!((log.k8s_file, log.k8s_file_count), (Some("/b".into()), 2));
    assert_eq!((log.rotate, log.max_files), (true, 4));
    assert_eq!(log.allowlist_dirs, [Path::new("/v"), Path::new("/w")]);
    assert_eq!((log.tag, log.name), (Some("T".into()), Some("N".into())));
    assert_eq!(log.labels, ["A=1", "B=2"]);
    assert!(log.no_partial_message && !log.sync);
}

#[test]
fn passes_the_flags_on() {
    let config = config(
        "--api-version -i -t --leave-stdin-open --sync --syslog -s --no-pivot --no-new-keyring \
         --replace-listen-pid --runtime-arg=a --runtime-opt=b --restore-arg=c",
    );
    assert_eq!(config.api, Api::V1);
    assert!(config.stdin && config.terminal && config.leave_stdin_open);
    assert!(config.sync && config.replace_listen_pid);
    let runtime = config.runtime;
    assert!(runtime.systemd_cgroup && runtime.no_pivot && runtime.no_new_keyring);
    assert_eq!((runtime.args, runtime.opts), (vec!["a".into()], vec!["b".into(), "c".into()]));
}

#[test]
fn asks_the_real_system() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(System.check_executable(dir.path()), Ok(()));
    assert_eq!(System.check_executable(&file), Err(Errno::EACCES));
    assert_eq!(System.check_executable(&file.join("x")), Err(Errno::ENOTDIR));
    assert_eq!(System.working_dir(), Ok(std::env::current_dir().unwrap()));
}
