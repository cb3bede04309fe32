//! How the command line is cut into options and values.

use rstest::rstest;

use super::harness::Says::{Constant, Formatted, Parse, Version};
use super::harness::{Candidate, Reference, Says, Subject, Which, check};

const NO_FOO: Says = Formatted("Runtime path foo is not valid No such file or directory");
const NO_CUUID: Says = Constant("Container UUID not provided. Use --cuuid");
const NO_RUNTIME: Says = Constant("Runtime path not provided. Use --runtime");

#[rstest]
#[case::positionals(&["a", "b", "--version"], Version)]
#[case::empty_element(&["", "--version"], Version)]
#[case::single_dash(&["-", "--version"], Version)]
#[case::options_after_positionals(&["a", "--bogus"], Parse("Unknown option --bogus"))]
#[case::nothing_is_an_option_after_two_dashes(&["--version", "--", "--bogus", "-z"], Version)]
#[case::options_before_two_dashes_count(
    &["-c", "x", "-u", "y", "-r", "foo", "--", "-r", "bar"],
    NO_FOO
)]
#[case::two_dashes_end_the_options(&["-c", "x", "--", "-u", "y"], NO_CUUID)]
#[case::two_dashes_twice(&["--version", "--", "--"], Version)]
fn elements(
    #[case] line: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, line, says);
}

#[rstest]
#[case::attached(&["-c", "x", "-u", "y", "--runtime=foo"], NO_FOO)]
#[case::apart(&["-c", "x", "-u", "y", "--runtime", "foo"], NO_FOO)]
#[case::short(&["-c", "x", "-u", "y", "-r", "foo"], NO_FOO)]
#[case::attached_with_equals_signs(
    &["-c", "x", "-u", "y", "--runtime=a=b=c"],
    Formatted("Runtime path a=b=c is not valid No such file or directory")
)]
#[case::attached_and_empty(
    &["-c", "x", "-u", "y", "--runtime="],
    Formatted("Runtime path  is not valid No such file or directory")
)]
#[case::apart_and_empty(
    &["-c", "x", "-u", "y", "--runtime", ""],
    Formatted("Runtime path  is not valid No such file or directory")
)]
#[case::short_and_empty(
    &["-c", "x", "-u", "y", "-r", ""],
    Formatted("Runtime path  is not valid No such file or directory")
)]
#[case::begins_with_an_equals_sign(
    &["-c", "x", "-u", "y", "--runtime==x"],
    Formatted("Runtime path =x is not valid No such file or directory")
)]
#[case::two_dashes_as_value(
    &["-c", "x", "-u", "y", "--runtime", "--"],
    Formatted("Runtime path -- is not valid No such file or directory")
)]
#[case::two_dashes_as_short_value(
    &["-c", "x", "-u", "y", "-r", "--"],
    Formatted("Runtime path -- is not valid No such file or directory")
)]
#[case::short_option_as_value(
    &["-c", "x", "-u", "y", "--runtime", "-x"],
    Formatted("Runtime path -x is not valid No such file or directory")
)]
#[case::long_option_as_value(
    &["-c", "x", "-u", "y", "-r", "--bogus"],
    Formatted("Runtime path --bogus is not valid No such file or directory")
)]
#[case::help_as_value(&["-c", "--help"], NO_CUUID)]
#[case::version_as_value(&["--cid", "--version"], NO_CUUID)]
#[case::last_of_several_wins(&["-c", "x", "-u", "y", "-r", "bar", "--runtime", "foo"], NO_FOO)]
#[case::blanks_and_newline_in_a_value(
    &["-c", "x", "-u", "y", "-r", " a\nb "],
    Formatted("Runtime path  a\nb  is not valid No such file or directory")
)]
#[case::arrays_keep_their_order(
    &["-c", "x", "-u", "y", "-r", "/bin/true", "-l", "none", "-l", "b:c", "--log-path=d:e"],
    Formatted("No such log driver b")
)]
fn values(#[case] line: &[&str], #[case] says: Says, #[values(Reference, Candidate)] which: Which) {
    check(which, line, says);
}

/// A flag with a value is set, whatever the value says.
#[rstest]
#[case::exec_with_zero(&["-c", "x", "--exec=0"], NO_RUNTIME)]
#[case::exec_with_no(&["-c", "x", "--exec=no"], NO_RUNTIME)]
#[case::exec_with_nothing(&["-c", "x", "--exec="], NO_RUNTIME)]
#[case::exec_twice(&["-c", "x", "-e", "--exec"], NO_RUNTIME)]
#[case::api_version_alone(&["-c", "x", "-e", "--api-version"], NO_CUUID)]
#[case::api_version_with_zero(&["-c", "x", "-e", "--api-version=0"], NO_CUUID)]
#[case::api_version_with_a_positional(&["-c", "x", "-e", "--api-version", "1"], NO_CUUID)]
#[case::version_with_nothing(&["--version="], Version)]
#[case::version_with_no(&["--version=no", "-c", "x"], Version)]
#[case::exec_attach_with_no(
    &["-c", "x", "--exec-attach=no"],
    Constant("Attach can only be specified with exec")
)]
#[case::log_rotate_with_no(
    &["--log-rotate=no", "--log-max-files=0"],
    Says::Plain("log-max-files must be at least 1 when log-rotate is enabled, got 0")
)]
fn flags(#[case] line: &[&str], #[case] says: Says, #[values(Reference, Candidate)] which: Which) {
    check(which, line, says);
}

#[rstest]
fn every_flag_is_accepted_alone_and_with_a_value(
    #[values(
        "--api-version",
        "--exec",
        "--exec-attach",
        "--leave-stdin-open",
        "--no-container-partial-message",
        "--no-new-keyring",
        "--no-pivot",
        "--no-sync-log",
        "--replace-listen-pid",
        "--stdin",
        "--sync",
        "--syslog",
        "--systemd-cgroup",
        "--terminal",
        "--full-attach",
        "--log-rotate"
    )]
    name: &str,
    #[values("", "=", "=no")] value: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &[&format!("{name}{value}"), "--version"], Version);
}

#[rstest]
fn every_short_flag_is_accepted(
    #[values("-e", "-i", "-s", "-t", "-eist", "-ii")] letters: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &[letters, "--version"], Version);
}

#[rstest]
fn every_option_with_an_argument_takes_it_attached_or_apart(
    #[values(
        "--bundle",
        "--cid",
        "--conmon-pidfile",
        "--container-pidfile",
        "--pidfile",
        "--cuuid",
        "--exec-process-spec",
        "--exit-command",
        "--exit-command-arg",
        "--exit-delay",
        "--exit-dir",
        "--log-level",
        "--log-path",
        "--log-size-max",
        "--log-global-size-max",
        "--log-tag",
        "--log-label",
        "--name",
        "--persist-dir",
        "--restore",
        "--restore-arg",
        "--runtime",
        "--runtime-arg",
        "--runtime-opt",
        "--sdnotify-socket",
        "--socket-dir-path",
        "--timeout",
        "--log-max-files",
        "--log-allowlist-dir"
    )]
    name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &[&format!("{name}=1"), name, "2", "--version"], Version);
}

#[rstest]
#[case("--bundle", "Missing argument for --bundle")]
#[case("--cid", "Missing argument for --cid")]
#[case("--conmon-pidfile", "Missing argument for --conmon-pidfile")]
#[case("--container-pidfile", "Missing argument for --container-pidfile")]
#[case("--pidfile", "Missing argument for --pidfile")]
#[case("--cuuid", "Missing argument for --cuuid")]
#[case("--exec-process-spec", "Missing argument for --exec-process-spec")]
#[case("--exit-command", "Missing argument for --exit-command")]
#[case("--exit-command-arg", "Missing argument for --exit-command-arg")]
#[case("--exit-delay", "Missing argument for --exit-delay")]
#[case("--exit-dir", "Missing argument for --exit-dir")]
#[case("--log-level", "Missing argument for --log-level")]
#[case("--log-path", "Missing argument for --log-path")]
#[case("--log-size-max", "Missing argument for --log-size-max")]
#[case("--log-global-size-max", "Missing argument for --log-global-size-max")]
#[case("--log-tag", "Missing argument for --log-tag")]
#[case("--log-label", "Missing argument for --log-label")]
#[case("--name", "Missing argument for --name")]
#[case("--persist-dir", "Missing argument for --persist-dir")]
#[case("--restore", "Missing argument for --restore")]
#[case("--restore-arg", "Missing argument for --restore-arg")]
#[case("--runtime", "Missing argument for --runtime")]
#[case("--runtime-arg", "Missing argument for --runtime-arg")]
#[case("--runtime-opt", "Missing argument for --runtime-opt")]
#[case("--sdnotify-socket", "Missing argument for --sdnotify-socket")]
#[case("--socket-dir-path", "Missing argument for --socket-dir-path")]
#[case("--timeout", "Missing argument for --timeout")]
#[case("--log-max-files", "Missing argument for --log-max-files")]
#[case("--log-allowlist-dir", "Missing argument for --log-allowlist-dir")]
#[case("-b", "Missing argument for -b")]
#[case("-c", "Missing argument for -c")]
#[case("-P", "Missing argument for -P")]
#[case("-p", "Missing argument for -p")]
#[case("-u", "Missing argument for -u")]
#[case("-l", "Missing argument for -l")]
#[case("-n", "Missing argument for -n")]
#[case("-0", "Missing argument for -0")]
#[case("-r", "Missing argument for -r")]
#[case("-T", "Missing argument for -T")]
fn missing_argument(
    #[case] name: &str,
    #[case] text: &'static str,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, &["--version", name], Parse(text));
}

#[rstest]
#[case::long(&["--bogus"], Parse("Unknown option --bogus"))]
#[case::long_with_value(&["--bogus=x"], Parse("Unknown option --bogus=x"))]
#[case::long_with_empty_value(&["--bogus="], Parse("Unknown option --bogus="))]
#[case::abbreviation(&["--run", "x"], Parse("Unknown option --run"))]
#[case::abbreviation_with_value(&["--run=x"], Parse("Unknown option --run=x"))]
#[case::longer_name(&["--cidx", "x"], Parse("Unknown option --cidx"))]
#[case::negation(&["--no-stdin"], Parse("Unknown option --no-stdin"))]
#[case::capital_letter(&["--Help"], Parse("Unknown option --Help"))]
#[case::all_capitals(&["--CID=x"], Parse("Unknown option --CID=x"))]
#[case::three_dashes(&["---x"], Parse("Unknown option ---x"))]
#[case::only_three_dashes(&["---"], Parse("Unknown option ---"))]
#[case::no_name(&["--=x"], Parse("Unknown option --=x"))]
#[case::group_help(&["--help-main"], Parse("Unknown option --help-main"))]
#[case::own_group_help(&["--help-conmon"], Parse("Unknown option --help-conmon"))]
#[case::help_with_value(&["--help=x"], Parse("Unknown option --help=x"))]
#[case::all_help_with_value(&["--help-all=x"], Parse("Unknown option --help-all=x"))]
#[case::blank_in_the_name(&["--cid x"], Parse("Unknown option --cid x"))]
#[case::letter(&["-z"], Parse("Unknown option -z"))]
#[case::capital_of_a_letter(&["-C", "x"], Parse("Unknown option -C"))]
#[case::letter_after_known_ones(&["-tz"], Parse("Unknown option -tz"))]
#[case::dash_in_a_cluster(&["-i-"], Parse("Unknown option -i-"))]
#[case::equals_sign_after_a_flag(&["-i=1"], Parse("Unknown option -i=1"))]
#[case::digit_after_a_flag(&["-i1"], Parse("Unknown option -i1"))]
#[case::first_of_two(&["--one", "--two"], Parse("Unknown option --one"))]
#[case::before_help(&["--bogus", "--help"], Parse("Unknown option --bogus"))]
#[case::beside_version(&["--version", "--bogus"], Parse("Unknown option --bogus"))]
#[case::before_a_missing_argument(&["-z", "-c"], Parse("Unknown option -z"))]
fn unknown_option(
    #[case] line: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, line, says);
}

#[rstest]
#[case::value_letter_first(&["-c", "x", "-u", "y", "-rt", "foo"], NO_FOO)]
#[case::value_letter_last(&["-c", "x", "-u", "y", "-itr", "foo"], NO_FOO)]
#[case::value_letter_in_the_middle(&["-c", "x", "-u", "y", "-irt", "foo"], NO_FOO)]
#[case::flags_after_the_value_letter_count(&["-ce", "x"], NO_RUNTIME)]
#[case::value_is_the_next_element(&["-c", "x", "-u", "y", "-ri", "--", "-r", "foo"], NO_FOO)]
#[case::attached_value(&["-c", "x", "-rfoo"], Parse("Missing argument for -r"))]
#[case::attached_value_and_more(&["-rfoo", "bar"], Parse("Unknown option -rfoo"))]
#[case::equals_sign(&["-r=foo"], Parse("Missing argument for -r"))]
#[case::equals_sign_and_more(&["-r=foo", "bar"], Parse("Unknown option -r=foo"))]
#[case::same_value_letter_twice(&["-ll", "a", "b"], Parse("Error parsing option -l"))]
#[case::two_value_letters(&["-ru", "a", "b"], Parse("Error parsing option -u"))]
#[case::two_value_letters_at_the_end(&["-ru", "a"], Parse("Error parsing option -u"))]
#[case::two_value_letters_without_value(&["-ru"], Parse("Missing argument for -r"))]
#[case::number_checked_where_it_stands(
    &["-Tz", "x"],
    Parse("Cannot parse integer value “x” for -T")
)]
#[case::number_in_a_cluster(&["-iT", "5", "--version"], Version)]
fn cluster(
    #[case] line: &[&str],
    #[case] says: Says,
    #[values(Reference, Candidate)] which: Which,
) {
    check(which, line, says);
}

/// Removed from the newest sources, which share their release number with older ones.
#[rstest]
fn seccomp_options_are_gone(
    #[values("--seccomp-notify-socket", "--seccomp-notify-plugins")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let says = match (Subject::get(which).seccomp, name) {
        (true, _) => Version,
        (false, "--seccomp-notify-socket") => Parse("Unknown option --seccomp-notify-socket"),
        (false, _) => Parse("Unknown option --seccomp-notify-plugins"),
    };
    assert!(which == Reference || !Subject::get(which).seccomp);
    check(which, &[name, "x", "--version"], says);
}
