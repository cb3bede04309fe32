//! What is refused after parsing, in which words and in which order.

use rstest::rstest;

use super::harness::Says::{Constant, Formatted, Plain};
use super::harness::{Candidate, Reference, Run, Says, Which, check_words};

const NO_CUUID: Says = Constant("Container UUID not provided. Use --cuuid");
const NO_RUNTIME: Says = Constant("Runtime path not provided. Use --runtime");
const NO_SPEC: Says = Constant("Exec process spec path not provided. Use --exec-process-spec");
const BAD_DELAY: Says =
    Constant("Delay before invoking exit command must be greater than or equal to 0");
const NO_LOG: Says = Constant("Log driver not provided. Use --log-path");

#[rstest]
#[case::nothing("", Plain("Container ID not provided. Use --cid"))]
#[case::everything_but_cid(
    "-u y -r /bin/true -l none",
    Plain("Container ID not provided. Use --cid")
)]
#[case::empty_cid("--cid=", NO_CUUID)]
#[case::negative_file_count(
    "-c x --log-max-files=-1",
    Plain("log-max-files must be non-negative, got -1")
)]
#[case::least_file_count(
    "-c x --log-max-files=-2147483648",
    Plain("log-max-files must be non-negative, got -2147483648")
)]
#[case::no_file_to_rotate_into(
    "-c x --log-rotate --log-max-files=0",
    Plain("log-max-files must be at least 1 when log-rotate is enabled, got 0")
)]
#[case::no_file_without_rotation("-c x --log-max-files=0", NO_CUUID)]
#[case::rotation_with_the_default("-c x --log-rotate", NO_CUUID)]
#[case::greatest_file_count("-c x --log-rotate --log-max-files=2147483647", NO_CUUID)]
#[case::unknown_level("-c x --log-level=loud", Formatted("No such log level loud"))]
#[case::numeric_level("-c x --log-level 1", Formatted("No such log level 1"))]
#[case::abbreviated_level("-c x --log-level=warni", Formatted("No such log level warni"))]
#[case::empty_level("-c x --log-level=", Formatted("No such log level "))]
#[case::restore_and_exec(
    "-c x -u y --restore=z --exec",
    Constant("Cannot use 'exec' and 'restore' at the same time")
)]
#[case::empty_restore_and_exec(
    "-c x -u y --restore= --exec",
    Constant("Cannot use 'exec' and 'restore' at the same time")
)]
#[case::attach_without_exec(
    "-c x -u y --api-version --exec-attach",
    Constant("Attach can only be specified with exec")
)]
#[case::attach_to_a_legacy_session(
    "-c x -u y --exec --exec-attach",
    Constant("Attach can only be specified for a non-legacy exec session")
)]
#[case::create_without_cuuid("-c x", NO_CUUID)]
#[case::create_without_cuuid_by_api_1("-c x --api-version", NO_CUUID)]
#[case::restore_without_cuuid("-c x --restore=z", NO_CUUID)]
#[case::exec_without_cuuid("-c x -e --api-version", NO_CUUID)]
#[case::legacy_exec_without_cuuid("-c x -e", NO_RUNTIME)]
#[case::empty_cuuid("-c x --cuuid=", NO_RUNTIME)]
#[case::no_runtime("-c x -u y", NO_RUNTIME)]
#[case::missing_runtime(
    "-c x -u y -r foo",
    Formatted("Runtime path foo is not valid No such file or directory")
)]
#[case::runtime_is_not_searched_in_the_path(
    "-c x -u y -r true",
    Formatted("Runtime path true is not valid No such file or directory")
)]
#[case::runtime_without_permission(
    "-c x -u y -r plain",
    Formatted("Runtime path plain is not valid Permission denied")
)]
#[case::runtime_below_a_file(
    "-c x -u y -r plain/x",
    Formatted("Runtime path plain/x is not valid Not a directory")
)]
#[case::directory_as_runtime("-c x -u y -r .", NO_LOG)]
#[case::exec_without_spec("-c x -u y -r /bin/true --exec --api-version", NO_SPEC)]
#[case::legacy_exec_without_spec("-c x -r /bin/true --exec", NO_SPEC)]
#[case::exec_with_an_empty_spec("-c x -r /bin/true --exec --exec-process-spec=", NO_LOG)]
#[case::spec_without_exec("-c x -u y -r /bin/true --exec-process-spec=z", NO_LOG)]
#[case::negative_delay("-c x -u y -r /bin/true --exit-delay=-1", BAD_DELAY)]
#[case::least_delay("-c x -u y -r /bin/true --exit-delay=-2147483648", BAD_DELAY)]
#[case::no_delay("-c x -u y -r /bin/true --exit-delay=0", NO_LOG)]
#[case::no_log_driver("-c x -u y -r /bin/true", NO_LOG)]
#[case::wrong_log_driver("-c x -u y -r /bin/true -l foo:bar", Formatted("No such log driver foo"))]
fn refuses(#[case] line: &str, #[case] says: Says, #[values(Reference, Candidate)] which: Which) {
    check_words(which, line, says);
}

/// Each line also holds mistakes of the checks that follow.
#[rstest]
#[case::file_count_before_cid(
    "--log-max-files=-1 --log-rotate --log-level=x",
    Plain("log-max-files must be non-negative, got -1")
)]
#[case::rotation_before_cid(
    "--log-max-files=0 --log-rotate --log-level=x",
    Plain("log-max-files must be at least 1 when log-rotate is enabled, got 0")
)]
#[case::cid_before_level(
    "--log-level=x --restore=z -e --exit-delay=-1 -l :",
    Plain("Container ID not provided. Use --cid")
)]
#[case::level_before_session(
    "-c x --log-level=x --restore=z -e --exec-attach",
    Formatted("No such log level x")
)]
#[case::restore_before_attach(
    "-c x --restore=z -e --exec-attach --exit-delay=-1 -l :",
    Constant("Cannot use 'exec' and 'restore' at the same time")
)]
#[case::attach_without_exec_before_cuuid(
    "-c x --exec-attach --exit-delay=-1 -l :",
    Constant("Attach can only be specified with exec")
)]
#[case::legacy_attach_before_runtime(
    "-c x -e --exec-attach --exit-delay=-1 -l :",
    Constant("Attach can only be specified for a non-legacy exec session")
)]
#[case::cuuid_before_runtime("-c x --exit-delay=-1 -l :", NO_CUUID)]
#[case::runtime_before_spec("-c x -e --exit-delay=-1 -l :", NO_RUNTIME)]
#[case::runtime_path_before_spec(
    "-c x -e -r foo --exit-delay=-1 -l :",
    Formatted("Runtime path foo is not valid No such file or directory")
)]
#[case::spec_before_delay("-c x -e -r /bin/true --exit-delay=-1 -l :", NO_SPEC)]
#[case::delay_before_missing_log("-c x -u y -r /bin/true --exit-delay=-1", BAD_DELAY)]
#[case::delay_before_log("-c x -u y -r /bin/true --exit-delay=-1 -l :", BAD_DELAY)]
#[case::log_grammar_before_log_labels(
    "-c x -u y -r /bin/true -l log --log-tag t -l foo:",
    Formatted("No such log driver foo")
)]
fn the_first_mistake_counts(
    #[case] line: &str,
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check_words(which, line, says);
}

#[rstest]
fn knows_every_level_in_any_case(
    #[values(
        "error", "fatal", "panic", "warn", "warning", "info", "debug", "trace", "ERROR", "Fatal",
        "pAnIc", "WARN", "Warning", "INFO", "Debug", "TRACE"
    )]
    level: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check_words(which, &format!("-c x -u y --log-level={level}"), NO_RUNTIME);
}

const WITHOUT_WORKING_DIR: &str = r#"mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@""#;

/// Even where nothing needs the working directory.
#[rstest]
fn refuses_without_a_working_directory(#[values(Reference, Candidate)] which: Which) {
    let line = ["-c", "x", "-u", "y", "-r", "/bin/true", "-b", "/", "-p", "/p", "--exit-delay=-1"];
    let run = Run::in_shell(which, WITHOUT_WORKING_DIR, line);
    run.says(Constant("Failed to get working directory"));
}

#[rstest]
fn checks_the_spec_before_the_working_directory(#[values(Reference, Candidate)] which: Which) {
    let line = ["-c", "x", "-u", "y", "-r", "/bin/true", "-e"];
    Run::in_shell(which, WITHOUT_WORKING_DIR, line).says(NO_SPEC);
}

/// The C program goes on, to fail at removing its socket directory or to crash.
#[rstest]
#[case::bundle_without_a_name_for_the_symlink("-b .", "Container UUID not provided. Use --cuuid")]
#[case::notify_socket_without_bundle("--sdnotify-socket n", "--sdnotify-socket needs a bundle")]
fn refuses_an_exec_session_that_cannot_work(#[case] more: &str, #[case] text: &'static str) {
    let line = format!("-c x -r /bin/false -e --exec-process-spec z -l none --sync {more}");
    check_words(Candidate, &line, Constant(text));
}

/// What is refused leaves nothing behind; the log is only opened after the last check.
#[rstest]
fn creates_nothing_before_the_checks_are_done(#[values(Reference, Candidate)] which: Which) {
    let line = ["-c", "x", "-u", "y", "-r", "/bin/true", "-l", "log", "-l", "foo:bar", "-P", "p"];
    let dir = Run::new(which, line).says(Formatted("No such log driver foo"));
    let names: Vec<_> =
        dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["plain"]);
}
