//! Integer values: what is accepted, and the texts for what is not.

use rstest::rstest;

use super::harness::Says::{Formatted, Parse, Plain, Version};
use super::harness::{Candidate, Reference, Run, Says, Subject, Which, check};

#[rstest]
fn accepts(
    #[values(
        "0",
        "7",
        "+3",
        "-3",
        "-0",
        "00",
        "010",
        "0x10",
        "0X1f",
        "-0x10",
        "+010",
        " 7",
        "\t7",
        "\n\u{b}\u{c}\r 7",
        " -7",
        "2147483647",
        "-2147483648",
        "0x7fffffff",
        "017777777777"
    )]
    number: &str,
    #[values("--exit-delay", "--timeout", "-T", "--log-size-max", "--log-global-size-max")]
    name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &[name, number, "--version"], Version);
}

#[rstest]
fn accepts_64_bits(
    #[values("2147483648", "9223372036854775807", "-9223372036854775808", "0x7fffffffffffffff")]
    number: &str,
    #[values("--log-size-max", "--log-global-size-max")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &[name, number, "--version"], Version);
}

fn refuses(which: Which, name: &str, number: &str, text: &str) {
    let run = Run::new(which, [name, number, "--version"]);
    let line = format!("conmon: option parsing failed: {text}\n");
    if run.subject.prints_parse_errors_on_stdout() {
        run.prints(1, line, "");
    } else {
        run.prints(1, "", line);
    }
}

#[rstest]
fn refuses_what_is_no_number(
    #[values(
        "",
        " ",
        "abc",
        "12abc",
        "7 ",
        "08",
        "0b1",
        "1e3",
        "1.5",
        "0x",
        "0x1g",
        "1k",
        "-",
        "+",
        "+-3",
        "- 3",
        "0x-1",
        "99999999999999999999x",
        "٣"
    )]
    number: &str,
    #[values("--exit-delay", "-T", "--log-size-max")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let text = format!("Cannot parse integer value “{number}” for {name}");
    refuses(which, name, number, &text);
}

#[rstest]
fn refuses_what_exceeds_32_bits(
    #[values(
        "2147483648",
        "-2147483649",
        "0x80000000",
        "0xffffffff",
        "037777777777",
        "99999999999999999999",
        "-99999999999999999999"
    )]
    number: &str,
    #[values("--exit-delay", "--timeout", "-T")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    refuses(which, name, number, &format!("Integer value “{number}” for {name} out of range"));
}

#[rstest]
fn refuses_what_exceeds_64_bits(
    #[values(
        "9223372036854775808",
        "-9223372036854775809",
        "0xffffffffffffffff",
        "99999999999999999999999999999999999999999999999999"
    )]
    number: &str,
    #[values("--log-size-max", "--log-global-size-max")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    refuses(which, name, number, &format!("Integer value “{number}” for {name} out of range"));
}

#[rstest]
#[case::attached(&["--timeout=x"], Parse("Cannot parse integer value “x” for --timeout"))]
#[case::attached_and_empty(&["--timeout="], Parse("Cannot parse integer value “” for --timeout"))]
#[case::newest_option(
    &["--log-max-files", "abc"],
    Parse("Cannot parse integer value “abc” for --log-max-files")
)]
#[case::newest_option_out_of_range(
    &["--log-max-files=2147483648"],
    Parse("Integer value “2147483648” for --log-max-files out of range")
)]
#[case::an_earlier_bad_one_counts(
    &["--timeout=x", "--timeout=1"],
    Parse("Cannot parse integer value “x” for --timeout")
)]
#[case::value_error_before_a_later_unknown_option(
    &["--timeout=x", "--bogus"],
    Parse("Cannot parse integer value “x” for --timeout")
)]
#[case::hexadecimal_value_is_used(
    &["--log-max-files=-0x10"],
    Plain("log-max-files must be non-negative, got -16")
)]
#[case::octal_value_is_used(
    &["--log-max-files", "-010"],
    Plain("log-max-files must be non-negative, got -8")
)]
#[case::last_value_is_used(
    &["--log-max-files=-1", "--log-max-files=-2"],
    Plain("log-max-files must be non-negative, got -2")
)]
fn details(
    #[case] line: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, line, says);
}

/// Negative limits and timeouts mean none; only the delay must not be negative.
#[rstest]
fn negative_limits_are_accepted(
    #[values("--timeout", "--log-size-max", "--log-global-size-max")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let line = ["-c", "x", "-u", "y", "-r", "/bin/true", name, "-5", "-l", "a:b"];
    Run::new(which, line).says(Formatted("No such log driver a"));
}

/// The wording follows GLib's UTF-8 form in every locale; GLib itself replaces the quotes.
#[rstest]
fn a_locale_without_quotes(#[values(Reference, Candidate)] which: Which) {
    let text = match which {
        Reference => "Cannot parse integer value ?abc? for -T",
        Candidate => "Cannot parse integer value “abc” for -T",
    };
    let line = format!("conmon: option parsing failed: {text}\n");
    let run = Run::new(which, ["-T", "abc"]).env("LC_ALL", "C");
    if Subject::get(which).prints_parse_errors_on_stdout() {
        run.prints(1, line, "");
    } else {
        run.prints(1, "", line);
    }
}
