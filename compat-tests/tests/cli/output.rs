//! Help and version.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

use rstest::rstest;

use super::harness::{Candidate, Reference, Run, Says, Subject, Which};

/// Names and texts in the order of the output; some releases lack some of them.
const HELP: [(&str, &str); 44] = [
    ("--api-version", "Conmon API version to use"),
    ("-b, --bundle", "Location of the OCI Bundle path"),
    ("-c, --cid", "Identification of Container"),
    ("-P, --conmon-pidfile", "PID file for the conmon process"),
    ("-p, --container-pidfile", "PID file for the initial pid inside of container"),
    ("-u, --cuuid", "Container UUID"),
    ("-e, --exec", "Exec a command into a running container"),
    ("--exec-attach", "Attach to an exec session"),
    ("--exec-process-spec", "Path to the process spec for execution"),
    (
        "--exit-command",
        "Path to the program to execute when the container terminates its execution",
    ),
    (
        "--exit-command-arg",
        "Additional arg to pass to the exit command.  Can be specified multiple times",
    ),
    ("--exit-delay", "Delay before invoking the exit command (in seconds)"),
    ("--exit-dir", "Path to the directory where exit files are written"),
    ("--leave-stdin-open", "Leave stdin open when attached client disconnects"),
    ("--log-level", "Print debug logs based on log level"),
    ("-l, --log-path", "Log file path"),
    ("--log-size-max", "Maximum size of log file"),
    ("--log-global-size-max", "Maximum size of all log files"),
    ("--log-tag", "Additional tag to use for logging"),
    ("--log-label", "Additional label to include in logs. Can be specified multiple times"),
    (
        "--no-container-partial-message",
        "Do not set CONTAINER_PARTIAL_MESSAGE=true for partial lines in journald logs (journald driver only)",
    ),
    ("-n, --name", "Container name"),
    ("--no-new-keyring", "Do not create a new session keyring for the container"),
    ("--no-pivot", "Do not use pivot_root"),
    ("--no-sync-log", "Do not manually call sync on logs after container shutdown"),
    (
        "-0, --persist-dir",
        "Persistent directory for a container that can be used for storing container data",
    ),
    ("--replace-listen-pid", "Replace listen pid if set for oci-runtime pid"),
    ("--restore", "Restore a container from a checkpoint"),
    ("-r, --runtime", "Path to store runtime data for the container"),
    ("--runtime-arg", "Additional arg to pass to the runtime. Can be specified multiple times"),
    (
        "--runtime-opt",
        "Additional opts to pass to the restore or exec command. Can be specified multiple times",
    ),
    ("--sdnotify-socket", "Path to the host's sd-notify socket to relay messages to"),
    ("--socket-dir-path", "Location of container attach sockets"),
    ("-i, --stdin", "Open up a pipe to pass stdin to the container"),
    ("--sync", "Keep the main conmon process as its child by only forking once"),
    ("--syslog", "Log to syslog (use with cgroupfs cgroup manager)"),
    (
        "-s, --systemd-cgroup",
        "Enable systemd cgroup manager, rather then use the cgroupfs directly",
    ),
    ("-t, --terminal", "Allocate a pseudo-TTY. The default is false"),
    ("-T, --timeout", "Kill container after specified timeout in seconds."),
    ("--version", "Print the version and exit"),
    (
        "--full-attach",
        "Don't truncate the path to the attach socket. This option causes conmon to ignore --socket-dir-path",
    ),
    ("--log-rotate", "Enable log rotation instead of truncation when log-size-max is reached"),
    ("--log-max-files", "Number of backup log files to keep (default: 1)"),
    ("--log-allowlist-dir", "Allowed log directory"),
];

/// What releases with seccomp support add, right after `--full-attach`.
const SECCOMP_HELP: [(&str, &str); 2] = [
    ("--seccomp-notify-socket", "Path to the socket where the seccomp notification fd is received"),
    ("--seccomp-notify-plugins", "Plugins to use for managing the seccomp notifications"),
];

/// The help output of `subject`, called `program`. The texts line up five columns after the
/// longest name.
fn help(subject: &Subject, program: &[u8]) -> Vec<u8> {
    let mut rows: Vec<_> = HELP.into_iter().filter(|(name, _)| subject.knows(name)).collect();
    if subject.seccomp {
        let after = rows.iter().position(|(name, _)| *name == "--full-attach").unwrap() + 1;
        rows.splice(after..after, SECCOMP_HELP);
    }
    let width = rows.iter().map(|(names, _)| names.len()).max().unwrap() + 5;
    let row = |(names, text): (&str, &str)| format!("  {names:width$}{text}\n");
    let first = row(("-h, --help", "Show help options"));
    let rest: String = rows.into_iter().map(row).collect();
    let mut help = b"Usage:\n  ".to_vec();
    help.extend_from_slice(program);
    help.extend_from_slice(
        format!(
            " [OPTION…] - conmon utility\n\nHelp Options:\n{first}\nApplication Options:\n{rest}\n"
        )
        .as_bytes(),
    );
    help
}

#[rstest]
#[case::long(&["--help"])]
#[case::all(&["--help-all"])]
#[case::letter(&["-h"])]
#[case::question_mark(&["-?"])]
#[case::before_an_unknown_option(&["--help", "--bogus"])]
#[case::after_version(&["--version", "--help"])]
#[case::after_positionals(&["a", "-", "--help"])]
#[case::in_a_cluster(&["-ith"])]
#[case::in_a_cluster_before_an_unknown_letter(&["-?z"])]
#[case::after_a_value_letter(&["-rh", "x"])]
#[case::before_a_missing_argument(&["-h", "-r"])]
#[case::before_later_checks(&["--exit-delay=-1", "--log-level=x", "-h"])]
fn help_acts_where_it_stands(#[case] line: &[&str], #[values(Reference, Candidate)] which: Which) {
    let expected = help(Subject::get(which), b"conmon");
    Run::new(which, line).arg0("conmon").prints(0, expected, "");
}

#[rstest]
#[case::plain(b"conmon", b"conmon")]
#[case::path(b"/foo/bar/baz", b"baz")]
#[case::relative_path(b"./x", b"x")]
#[case::slash_at_the_end(b"foo/bar/", b"bar")]
#[case::several_slashes_at_the_end(b"foo///", b"foo")]
#[case::root(b"/", b"/")]
#[case::empty(b"", b".")]
#[case::other_encoding(b"/x/\xff", b"\xff")]
fn help_names_the_program_as_called(
    #[case] program: &[u8],
    #[case] name: &[u8],
    #[values(Reference, Candidate)] which: Which,
) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let expected = help(Subject::get(which), name);
    Run::new(which, ["--help"]).arg0(OsStr::from_bytes(program)).prints(0, expected, "");
}

/// The errors' `conmon`, in contrast, is a constant.
#[rstest]
fn errors_do_not_name_the_program_as_called(#[values(Reference, Candidate)] which: Which) {
    Run::new(which, ["--bogus"]).arg0("monitor").says(Says::Parse("Unknown option --bogus"));
}

#[rstest]
#[case::alone(&["--version"])]
#[case::with_value(&["--version=0"])]
#[case::before_other_options(&["--version", "-c", "x"])]
#[case::after_other_options(&["-c", "x", "--version"])]
#[case::before_every_check(&["--version", "--exit-delay=-1", "--log-level=x", "-l", "", "-r", "foo"])]
fn version(#[case] line: &[&str], #[values(Reference, Candidate)] which: Which) {
    Run::new(which, line).says(Says::Version);
}

#[rstest]
fn version_wins_over_a_negative_file_count(#[values(Reference, Candidate)] which: Which) {
    super::harness::check(which, &["--version", "--log-max-files=-1"], Says::Version);
}

/// CRI-O reads the third word as a strict semantic version, Podman the first line by a
/// regular expression, and Podman's tests everything after the last ` version `.
#[rstest]
fn version_reads_as_callers_read_it(#[values(Reference, Candidate)] which: Which) {
    let text = &Subject::get(which).version_text;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text:?}");
    assert!(text.ends_with('\n'), "{text:?}");
    let version = lines[0].strip_prefix("conmon version ").unwrap();
    assert_eq!(text.split_whitespace().nth(2), Some(version));
    let core = version.split('+').next().unwrap();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    assert!(numbers.len() == 3 && numbers.iter().all(Result::is_ok), "{version:?}");
    assert!(lines[1].starts_with("commit: ") && !lines[1].contains(" version "), "{text:?}");
}

#[test]
fn version_of_the_candidate() {
    let text = &Subject::get(Candidate).version_text;
    let first = concat!("conmon version ", env!("CARGO_PKG_VERSION"), "\ncommit: ");
    let commit = text.strip_prefix(first).unwrap().trim_end();
    let hash = commit.strip_suffix("-dirty").unwrap_or(commit);
    let is_hash = hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Tests are run in checkouts and, by who builds a package, in archives made by git.
    assert!(is_hash || commit == "unknown", "{text:?}");
    let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.git"));
    assert!(is_hash || !checkout.exists(), "a checkout knows its commit: {text:?}");
}

#[rstest]
fn a_full_output_device_is_no_error(
    #[values("--help", "--version")] option: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(&Subject::get(which).path)
        .arg(option)
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[rstest]
fn a_closed_output_is_no_error(
    #[values("--help", "--version")] option: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    Run::in_shell(which, r#"exec "$0" "$@" >&-"#, [option]).prints(0, "", "");
}
