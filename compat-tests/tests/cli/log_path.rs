//! The grammar of `--log-path`, and what is checked when the drivers are set up.

use rstest::rstest;

use super::harness::Says::{Constant, Formatted};
use super::harness::{Candidate, Reference, Run, Says, Which, check};

const EMPTY: Says = Formatted("log-path must not be empty");
const NO_FILE: Says = Formatted("k8s-file requires a filename");
const PREFIX: [&str; 6] = ["-c", "x", "-u", "y", "-r", "/bin/true"];

fn check_log(which: Which, more: &[&str], says: Says) {
    check(which, &[&PREFIX, more].concat(), says);
}

#[rstest]
#[case::nothing("", EMPTY)]
#[case::colon(":", EMPTY)]
#[case::colons("::", EMPTY)]
#[case::many_colons(":::::", EMPTY)]
#[case::driver_alone("k8s-file", NO_FILE)]
#[case::driver_and_colon("k8s-file:", NO_FILE)]
#[case::driver_and_colons("k8s-file::", NO_FILE)]
#[case::unknown_driver_and_colon("foo:", Formatted("No such log driver foo"))]
#[case::unknown_driver_and_path("foo:bar", Formatted("No such log driver foo"))]
#[case::unknown_driver_after_a_colon(":foo:bar", Formatted("No such log driver foo"))]
#[case::unknown_driver_after_colons("::foo::bar", Formatted("No such log driver foo"))]
#[case::path_with_colons("/a:b:c", Formatted("No such log driver /a"))]
#[case::path_and_colon("/a:", Formatted("No such log driver /a"))]
#[case::capitals_of_a_file_driver("K8S-FILE:/x", Formatted("No such log driver K8S-FILE"))]
#[case::capitals_of_no_driver("None:", Formatted("No such log driver None"))]
#[case::blank_after_the_driver("k8s-file :/x", Formatted("No such log driver k8s-file "))]
#[case::json_file("json-file:/x", Formatted("No such log driver json-file"))]
#[case::syslog("syslog:x", Formatted("No such log driver syslog"))]
fn refuses(#[case] value: &str, #[case] says: Says, #[values(Reference, Candidate)] which: Which) {
    check_log(which, &["-l", value], says);
}

/// Accepted values, seen by the complaint about the next one.
#[rstest]
fn accepts(
    #[values(
        "log",
        "./log",
        "k8s-file:log",
        "k8s-file:a:b",
        ":log",
        "::log",
        ":journald",
        ":none",
        ":off",
        ":passthrough",
        ":k8s-file:log",
        "Journald",
        "journald",
        "journald:",
        "journald:x",
        "none",
        "none:",
        "none:x",
        "off",
        "off:",
        "null",
        "null:x",
        "passthrough",
        "passthrough:",
        "passthrough:x"
    )]
    value: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check_log(which, &["-l", value, "--log-path=a:b"], Formatted("No such log driver a"));
}

#[rstest]
#[case::first_of_two(&["-l", "", "-l", "a:b"], EMPTY)]
#[case::second_of_two(&["-l", "none", "-l", "k8s-file:"], NO_FILE)]
#[case::after_a_file(&["-l", "log", "--log-path=", "-l", "journald"], EMPTY)]
fn every_value_is_checked_in_order(
    #[case] more: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check_log(which, more, says);
}

#[rstest]
#[case::missing_directory(
    &["-l", "none/log"],
    Formatted("Failed to open log file No such file or directory")
)]
#[case::directory(&["-l", "k8s-file:."], Formatted("Failed to open log file Is a directory"))]
#[case::below_a_file(&["-l", "plain/log"], Formatted("Failed to open log file Not a directory"))]
#[case::tag(&["-l", "log", "--log-tag", "t"], Constant("k8s-file doesn't support --log-tag"))]
#[case::empty_tag(&["-l", "log", "--log-tag="], Constant("k8s-file doesn't support --log-tag"))]
#[case::label(
    &["-l", "log", "--log-label", "A=b"],
    Constant("k8s-file doesn't support --log-label")
)]
#[case::tag_before_label(
    &["-l", "log", "--log-label", "A=b", "--log-tag", "t"],
    Constant("k8s-file doesn't support --log-tag")
)]
#[case::short_id_for_the_journal(
    &["-l", "journald"],
    Constant("Container ID must be longer than 12 characters")
)]
#[case::short_id_before_bad_labels(
    &["-l", "journald", "--log-label", "a"],
    Constant("Container ID must be longer than 12 characters")
)]
#[case::twelve_bytes(
    &["-l", "journald", "-c", "123456789012"],
    Constant("Container ID must be longer than 12 characters")
)]
#[case::file_before_journal(
    &["-l", "journald", "-l", "none/log"],
    Formatted("Failed to open log file No such file or directory")
)]
#[case::label_without_name(
    &["-l", "journald", "-c", "1234567890123", "--log-label", "=x"],
    Formatted("Container labels must be in format LABEL=VALUE (no LABEL present in '=x')")
)]
#[case::label_without_equals_sign(
    &["-l", "journald", "-c", "1234567890123", "--log-label", "A"],
    Formatted("Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A')")
)]
#[case::label_with_two_equals_signs(
    &["-l", "journald", "-c", "1234567890123", "--log-label", "A=b=c"],
    Formatted("Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A=b=c')")
)]
#[case::empty_label(
    &["-l", "journald", "-c", "1234567890123", "--log-label", ""],
    Formatted("Container labels must be in format LABEL=VALUE (none or more than one '=' present in '')")
)]
#[case::label_in_small_letters(
    &["-l", "journald", "-c", "1234567890123", "--log-label", "a=b"],
    Formatted("Container label names must contain only uppercase letters, numbers and underscore (in 'a=b')")
)]
#[case::second_label(
    &["-l", "journald", "-c", "1234567890123", "--log-label", "A_1=b", "--log-label", "A-1=b"],
    Formatted("Container label names must contain only uppercase letters, numbers and underscore (in 'A-1=b')")
)]
fn setting_up_the_drivers(
    #[case] more: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check_log(which, more, says);
}

/// The log file exists before its options are found wanting.
#[rstest]
fn a_refused_tag_leaves_the_log_file(#[values(Reference, Candidate)] which: Which) {
    let line = [&PREFIX[..], &["-l", "log", "--log-tag", "t"]].concat();
    let dir = Run::new(which, line).says(Constant("k8s-file doesn't support --log-tag"));
    assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"");
}

/// Of two log files only the last is opened, and ours says so (differences.md, B16).
#[rstest]
#[case::reference(Reference, "")]
#[case::candidate(
    Candidate,
    "[conmon:w]: Several k8s-file log paths given, only none/log is used\n"
)]
fn only_the_last_of_two_log_files_is_opened(#[case] which: Which, #[case] notice: &str) {
    let line = [&PREFIX[..], &["-l", "first", "-l", "none/log"]].concat();
    let error = "[conmon:e]: Failed to open log file No such file or directory\n";
    let dir = Run::new(which, line).prints(1, "", format!("{notice}{error}"));
    assert!(!dir.path().join("first").exists());
}
