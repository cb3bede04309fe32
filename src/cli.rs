//! The command line: what was typed, under GLib's scanning rules.
//!
//! Callers were written against GLib's parser, whose rules no Rust parser has (values that
//! look like options, clusters, flags with ignored values). So one table names the options, a
//! lexer scans the line as GLib does and spells it anew, and clap, told of the same table,
//! turns the new spelling into matches. Only this room knows clap. Nothing here judges
//! what the options mean; that is `config`.

mod help;
mod integer;
mod lexer;
#[cfg(test)]
mod properties;
mod table;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::ArgMatches;

use lexer::Lexed;

/// The compatibility level and the revision of this implementation. Callers read the third
/// word as a semantic version.
const VERSION: &str = concat!(
    "conmon version ",
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("CONMON_GIT_COMMIT"),
    "\n"
);

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Outcome {
    Run(Box<Options>),
    /// For stdout, then exit 0. A failure to write it is ignored.
    Print(Vec<u8>),
    /// For stderr as it is, then exit 1.
    Refuse(Vec<u8>),
}

/// What was typed; nothing is checked yet but that integers are integers.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// argv\[0\].
    pub(crate) program: OsString,
    pub(crate) api_version: bool,
    pub(crate) bundle: Option<OsString>,
    pub(crate) cid: Option<OsString>,
    pub(crate) conmon_pidfile: Option<OsString>,
    pub(crate) container_pidfile: Option<OsString>,
    pub(crate) cuuid: Option<OsString>,
    pub(crate) exec: bool,
    pub(crate) exec_attach: bool,
    pub(crate) exec_process_spec: Option<OsString>,
    pub(crate) exit_command: Option<OsString>,
    pub(crate) exit_command_args: Vec<OsString>,
    /// Seconds.
    pub(crate) exit_delay: Option<i32>,
    pub(crate) exit_dir: Option<OsString>,
    pub(crate) full_attach: bool,
    pub(crate) leave_stdin_open: bool,
    pub(crate) log_allowlist_dirs: Vec<OsString>,
    pub(crate) log_global_size_max: Option<i64>,
    pub(crate) log_labels: Vec<OsString>,
    pub(crate) log_level: Option<OsString>,
    pub(crate) log_max_files: Option<i32>,
    pub(crate) log_paths: Vec<OsString>,
    pub(crate) log_rotate: bool,
    pub(crate) log_size_max: Option<i64>,
    pub(crate) log_tag: Option<OsString>,
    pub(crate) name: Option<OsString>,
    pub(crate) no_container_partial_message: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) no_pivot: bool,
    pub(crate) no_sync_log: bool,
    pub(crate) persist_dir: Option<OsString>,
    pub(crate) replace_listen_pid: bool,
    pub(crate) restore: Option<OsString>,
    pub(crate) runtime: Option<OsString>,
    pub(crate) runtime_args: Vec<OsString>,
    /// `--runtime-opt` and `--restore-arg` in command-line order.
    pub(crate) runtime_opts: Vec<OsString>,
    pub(crate) sdnotify_socket: Option<OsString>,
    pub(crate) socket_dir_path: Option<OsString>,
    pub(crate) stdin: bool,
    pub(crate) sync: bool,
    pub(crate) syslog: bool,
    pub(crate) systemd_cgroup: bool,
    pub(crate) terminal: bool,
    /// Seconds.
    pub(crate) timeout: Option<i32>,
}

/// Reads the command line; `args` begins with argv\[0\].
///
/// `--help` acts where it stands, `--version` only after the whole line has been accepted.
#[inline(never)]
pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Outcome {
    let program = args.next().unwrap_or_default();
    let line = match lexer::scan(args) {
        Ok(Lexed::Canonical(line)) => line,
        Ok(Lexed::Help) => return Outcome::Print(help::text(base_name(&program))),
        Err(error) => return refuse(&error.text()),
    };
    let mut matches = match table::command(line.used).try_get_matches_from(line.argv) {
        Ok(matches) => matches,
        // Out of reach: the lexer only lets through what the table allows.
        Err(error) => return refuse(error.kind().as_str().unwrap_or("invalid options").as_bytes()),
    };
    if flag(&mut matches, "version") {
        return Outcome::Print(version());
    }
    Outcome::Run(Box::new(Options::from_matches(program, matches)))
}

// Called for each of 45 fields, once: inlined (Rust 1.85 does) they are 8 KB.

/// Whether a flag was given. As with `value` and `list`, clap's answer that it does not know
/// the option means that it was not on the line.
#[inline(never)]
fn flag(matches: &mut ArgMatches, name: &str) -> bool {
    matches.try_remove_one(name).ok().flatten().unwrap_or(false)
}

/// The last value of an option.
#[inline(never)]
fn value(matches: &mut ArgMatches, name: &str) -> Option<OsString> {
    matches.try_remove_one(name).ok().flatten()
}

/// The last value of an option that takes an integer, which the lexer has read and spelled.
#[inline(never)]
fn number(matches: &mut ArgMatches, name: &str) -> Option<i64> {
    value(matches, name)?.to_str()?.parse().ok()
}

/// The same for an integer of 32 bits; the lexer has seen to the range.
fn small_number(matches: &mut ArgMatches, name: &str) -> Option<i32> {
    number(matches, name)?.try_into().ok()
}

/// All values of an option, in order.
#[inline(never)]
fn list(matches: &mut ArgMatches, name: &str) -> Vec<OsString> {
    matches.try_remove_many(name).ok().flatten().map(Iterator::collect).unwrap_or_default()
}

fn version() -> Vec<u8> {
    VERSION.as_bytes().to_vec()
}

fn refuse(text: &[u8]) -> Outcome {
    Outcome::Refuse([b"conmon: option parsing failed: ", text, b"\n"].concat())
}

impl Options {
    fn from_matches(program: OsString, mut matches: ArgMatches) -> Self {
        let m = &mut matches;
        Self {
            program,
            api_version: flag(m, "api-version"),
            bundle: value(m, "bundle"),
            cid: value(m, "cid"),
            conmon_pidfile: value(m, "conmon-pidfile"),
            container_pidfile: value(m, "container-pidfile"),
            cuuid: value(m, "cuuid"),
            exec: flag(m, "exec"),
            exec_attach: flag(m, "exec-attach"),
            exec_process_spec: value(m, "exec-process-spec"),
            exit_command: value(m, "exit-command"),
            exit_command_args: list(m, "exit-command-arg"),
            exit_delay: small_number(m, "exit-delay"),
            exit_dir: value(m, "exit-dir"),
            full_attach: flag(m, "full-attach"),
            leave_stdin_open: flag(m, "leave-stdin-open"),
            log_allowlist_dirs: list(m, "log-allowlist-dir"),
            log_global_size_max: number(m, "log-global-size-max"),
            log_labels: list(m, "log-label"),
            log_level: value(m, "log-level"),
            log_max_files: small_number(m, "log-max-files"),
            log_paths: list(m, "log-path"),
            log_rotate: flag(m, "log-rotate"),
            log_size_max: number(m, "log-size-max"),
            log_tag: value(m, "log-tag"),
            name: value(m, "name"),
            no_container_partial_message: flag(m, "no-container-partial-message"),
            no_new_keyring: flag(m, "no-new-keyring"),
            no_pivot: flag(m, "no-pivot"),
            no_sync_log: flag(m, "no-sync-log"),
            persist_dir: value(m, "persist-dir"),
            replace_listen_pid: flag(m, "replace-listen-pid"),
            restore: value(m, "restore"),
            runtime: value(m, "runtime"),
            runtime_args: list(m, "runtime-arg"),
            runtime_opts: list(m, "runtime-opt"),
            sdnotify_socket: value(m, "sdnotify-socket"),
            socket_dir_path: value(m, "socket-dir-path"),
            stdin: flag(m, "stdin"),
            sync: flag(m, "sync"),
            syslog: flag(m, "syslog"),
            systemd_cgroup: flag(m, "systemd-cgroup"),
            terminal: flag(m, "terminal"),
            timeout: small_number(m, "timeout"),
        }
    }

    /// The program's name as the system log shows it: what follows the last slash.
    pub(crate) fn program_name(&self) -> &[u8] {
        self.program.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// The last component of a path, as GLib's basename gives it: slashes at the end do not
/// count, nothing is `.` and nothing but slashes is `/`.
fn base_name(path: &OsStr) -> &[u8] {
    let path = path.as_bytes();
    let Some(end) = path.iter().rposition(|byte| *byte != b'/') else {
        return if path.is_empty() { b"." } else { b"/" };
    };
    let path = path.get(..=end).unwrap_or_default();
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse_line(args: &[&str]) -> Outcome {
        parse(["conmon"].iter().chain(args).map(OsString::from))
    }

    fn options(args: &[&str]) -> Options {
        match parse_line(args) {
            Outcome::Run(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_typed_leaves_everything_unset() {
        let typed = Options { program: "conmon".into(), ..Options::default() };
        assert_eq!(format!("{:?}", options(&[])), format!("{typed:?}"));
    }

    #[test]
    fn every_option_reaches_its_field() {
        let flags = [
            "api-version",
            "exec",
            "exec-attach",
            "leave-stdin-open",
            "no-new-keyring",
            "no-pivot",
            "no-container-partial-message",
            "no-sync-log",
            "replace-listen-pid",
            "stdin",
            "sync",
            "syslog",
            "systemd-cgroup",
            "terminal",
            "full-attach",
            "log-rotate",
        ];
        let texts = [
            "bundle",
            "cid",
            "conmon-pidfile",
            "container-pidfile",
            "cuuid",
            "exec-process-spec",
            "exit-command",
            "exit-command-arg",
            "exit-dir",
            "log-level",
            "log-path",
            "log-tag",
            "log-label",
            "name",
            "persist-dir",
            "restore",
            "runtime",
            "runtime-arg",
            "runtime-opt",
            "sdnotify-socket",
            "socket-dir-path",
            "log-allowlist-dir",
        ];
        let numbers =
            ["exit-delay", "log-size-max", "log-global-size-max", "timeout", "log-max-files"];
        let line: Vec<String> = flags
            .iter()
            .map(|name| format!("--{name}"))
            .chain(texts.iter().map(|name| format!("--{name}=the {name}")))
            .chain(numbers.iter().zip(1..).map(|(name, number)| format!("--{name}={number}")))
            .collect();
        let typed = options(&line.iter().map(String::as_str).collect::<Vec<_>>());
        let seen = format!("{typed:#?}").replace('_', "-");
        for name in flags {
            assert!(seen.contains(&format!("    {name}: true,")), "{name} in {seen}");
        }
        for name in texts {
            assert_eq!(seen.matches(&format!("\"the {name}\"")).count(), 1, "{name} in {seen}");
        }
        assert_eq!(
            [typed.exit_delay, typed.timeout, typed.log_max_files],
            [Some(1), Some(4), Some(5)]
        );
        assert_eq!([typed.log_size_max, typed.log_global_size_max], [Some(2), Some(3)]);
        assert_eq!(flags.len() + texts.len() + numbers.len() + 2, table::ROWS.len());
    }

    #[test]
    fn the_last_of_several_wins_and_arrays_keep_all() {
        let typed = options(&[
            "-c",
            "a",
            "--pidfile=1",
            "-c",
            "b",
            "-p",
            "2",
            "--pidfile",
            "3",
            "-i",
            "-i",
            "-l",
            "x",
            "-l",
            "y",
            "--runtime-opt=1",
            "--restore-arg=2",
            "--runtime-opt=3",
            "-T",
            "1",
            "-T",
            "2",
        ]);
        assert_eq!(typed.cid, Some("b".into()));
        assert_eq!(typed.container_pidfile, Some("3".into()));
        assert!(typed.stdin);
        assert_eq!(typed.log_paths, ["x", "y"]);
        assert_eq!(typed.runtime_opts, ["1", "2", "3"]);
        assert_eq!(typed.timeout, Some(2));
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let typed = options(&["--cid=", "-u", "", "--log-path=", "--exit-command-arg="]);
        assert_eq!((typed.cid, typed.cuuid), (Some("".into()), Some("".into())));
        assert_eq!(typed.log_paths, [""]);
        assert_eq!(typed.exit_command_args, [""]);
    }

    #[rstest]
    #[case::alone(&["--version"])]
    #[case::with_value(&["--version=0"])]
    #[case::before_other_mistakes(&["--version", "--log-max-files=-1", "--log-level", "x"])]
    #[case::at_the_end(&["-c", "x", "--version"])]
    fn version_wins_over_what_is_checked_later(#[case] line: &[&str]) {
        let Outcome::Print(text) = parse_line(line) else { panic!("{line:?}") };
        let text = String::from_utf8(text).unwrap();
        let first = concat!("conmon version ", env!("CARGO_PKG_VERSION"), "\ncommit: ");
        assert!(text.starts_with(first) && first.contains("+rust."), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with('\n'));
    }

    #[rstest]
    #[case::unknown(&["--version", "--bogus"], "Unknown option --bogus")]
    #[case::missing(&["--version", "-c"], "Missing argument for -c")]
    fn version_needs_a_line_without_mistakes(#[case] line: &[&str], #[case] text: &str) {
        let Outcome::Refuse(line) = parse_line(line) else { panic!("{line:?}") };
        let expected = format!("conmon: option parsing failed: {text}\n");
        assert_eq!(String::from_utf8(line), Ok(expected));
    }

    #[rstest]
    #[case::name("conmon", "conmon")]
    #[case::path("/foo/bar/baz", "baz")]
    #[case::slash_at_the_end("foo/bar//", "bar")]
    #[case::only_slashes("//", "/")]
    #[case::empty("", ".")]
    fn help_names_the_program(#[case] program: &str, #[case] name: &str) {
        let Outcome::Print(text) = parse([program, "--help"].map(OsString::from).into_iter())
        else {
            panic!("no help");
        };
        let text = String::from_utf8(text).unwrap();
        let expected = format!("  {name} [OPTION…] - conmon utility");
        assert_eq!(text.lines().nth(1), Some(expected.as_str()));
    }

    #[test]
    fn help_aligns_the_texts_and_hides_the_aliases() {
        let Outcome::Print(text) = parse_line(&["-h"]) else { panic!("no help") };
        let text = String::from_utf8(text).unwrap();
        for line in [
            "Help Options:\n  -h, --help                         Show help options\n\nApplication",
            "\n  --api-version                      Conmon API version to use\n",
            "\n  --no-container-partial-message     Do not set CONTAINER_PARTIAL_MESSAGE=true",
            "\n  -0, --persist-dir                  Persistent directory",
            "\n  --log-allowlist-dir                Allowed log directory\n\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("--pidfile") && !text.contains("restore-arg"), "{text}");
    }

    #[rstest]
    #[case::path("/usr/bin/conmon", "conmon")]
    #[case::name("monitor", "monitor")]
    #[case::slash_at_the_end("x/", "")]
    fn program_name_is_what_follows_the_last_slash(#[case] program: &str, #[case] name: &str) {
        let typed = Options { program: program.into(), ..Options::default() };
        assert_eq!(typed.program_name(), name.as_bytes());
    }
}
