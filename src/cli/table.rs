//! The one table of options: names, kinds of value and help texts.
//!
//! The order is that of the help output. Spelling and help texts are part of the interface,
//! mistakes included: callers search the help output for option names. It is static data,
//! from which clap is told only the options that a line uses: one of clap's options takes
//! 600 bytes, and what is touched here stays with the monitor for its container's life.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use Kind::{Flag, Help, Int, LongInt, Text, Texts};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Help,
    Flag,
    /// Bytes of any encoding; the last of several wins.
    Text,
    /// Bytes of any encoding; several are kept in their order.
    Texts,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    LongInt,
}

/// An option.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) short: Option<u8>,
    pub(super) long: &'static str,
    /// Other spellings, which the help does not mention.
    pub(super) alias: Option<&'static str>,
    pub(super) short_alias: Option<u8>,
    pub(super) help: &'static str,
}

#[rustfmt::skip]
pub(super) static ROWS: [Row; 45] = [
    Row { short_alias: Some(b'?'), ..row(Help, Some(b'h'), "help", "Show help options") }.alias("help-all"),
    row(Flag, None, "api-version", "Conmon API version to use"),
    row(Text, Some(b'b'), "bundle", "Location of the OCI Bundle path"),
    row(Text, Some(b'c'), "cid", "Identification of Container"),
    row(Text, Some(b'P'), "conmon-pidfile", "PID file for the conmon process"),
    row(Text, Some(b'p'), "container-pidfile", "PID file for the initial pid inside of container").alias("pidfile"),
    row(Text, Some(b'u'), "cuuid", "Container UUID"),
    row(Flag, Some(b'e'), "exec", "Exec a command into a running container"),
    row(Flag, None, "exec-attach", "Attach to an exec session"),
    row(Text, None, "exec-process-spec", "Path to the process spec for execution"),
    row(Text, None, "exit-command", "Path to the program to execute when the container terminates its execution"),
    row(Texts, None, "exit-command-arg", "Additional arg to pass to the exit command.  Can be specified multiple times"),
    row(Int, None, "exit-delay", "Delay before invoking the exit command (in seconds)"),
    row(Text, None, "exit-dir", "Path to the directory where exit files are written"),
    row(Flag, None, "leave-stdin-open", "Leave stdin open when attached client disconnects"),
    row(Text, None, "log-level", "Print debug logs based on log level"),
    row(Texts, Some(b'l'), "log-path", "Log file path"),
    row(LongInt, None, "log-size-max", "Maximum size of log file"),
    row(LongInt, None, "log-global-size-max", "Maximum size of all log files"),
    row(Text, None, "log-tag", "Additional tag to use for logging"),
    row(Texts, None, "log-label", "Additional label to include in logs. Can be specified multiple times"),
    row(Flag, None, "no-container-partial-message", "Do not set CONTAINER_PARTIAL_MESSAGE=true for partial lines in journald logs (journald driver only)"),
    row(Text, Some(b'n'), "name", "Container name"),
    row(Flag, None, "no-new-keyring", "Do not create a new session keyring for the container"),
    row(Flag, None, "no-pivot", "Do not use pivot_root"),
    row(Flag, None, "no-sync-log", "Do not manually call sync on logs after container shutdown"),
    row(Text, Some(b'0'), "persist-dir", "Persistent directory for a container that can be used for storing container data"),
    row(Flag, None, "replace-listen-pid", "Replace listen pid if set for oci-runtime pid"),
    row(Text, None, "restore", "Restore a container from a checkpoint"),
    row(Text, Some(b'r'), "runtime", "Path to store runtime data for the container"),
    row(Texts, None, "runtime-arg", "Additional arg to pass to the runtime. Can be specified multiple times"),
    row(Texts, None, "runtime-opt", "Additional opts to pass to the restore or exec command. Can be specified multiple times").alias("restore-arg"),
    row(Text, None, "sdnotify-socket", "Path to the host's sd-notify socket to relay messages to"),
    row(Text, None, "socket-dir-path", "Location of container attach sockets"),
    row(Flag, Some(b'i'), "stdin", "Open up a pipe to pass stdin to the container"),
    row(Flag, None, "sync", "Keep the main conmon process as its child by only forking once"),
    row(Flag, None, "syslog", "Log to syslog (use with cgroupfs cgroup manager)"),
    row(Flag, Some(b's'), "systemd-cgroup", "Enable systemd cgroup manager, rather then use the cgroupfs directly"),
    row(Flag, Some(b't'), "terminal", "Allocate a pseudo-TTY. The default is false"),
    row(Int, Some(b'T'), "timeout", "Kill container after specified timeout in seconds."),
    row(Flag, None, "version", "Print the version and exit"),
    row(Flag, None, "full-attach", "Don't truncate the path to the attach socket. This option causes conmon to ignore --socket-dir-path"),
    row(Flag, None, "log-rotate", "Enable log rotation instead of truncation when log-size-max is reached"),
    row(Int, None, "log-max-files", "Number of backup log files to keep (default: 1)"),
    row(Texts, None, "log-allowlist-dir", "Allowed log directory"),
];

const fn row(kind: Kind, short: Option<u8>, long: &'static str, help: &'static str) -> Row {
    Row { kind, short, long, alias: None, short_alias: None, help }
}

impl Row {
    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub(super) fn has_long(&self, name: &[u8]) -> bool {
        self.long.as_bytes() == name || self.alias.is_some_and(|alias| alias.as_bytes() == name)
    }

    pub(super) fn has_short(&self, letter: u8) -> bool {
        self.short == Some(letter) || self.short_alias == Some(letter)
    }

    /// The option as clap knows it, by its long name only: the lexer spells no other.
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long);
        match self.kind {
            Help => arg.action(ArgAction::Help),
            Flag => arg.action(ArgAction::SetTrue),
            // The lexer has read the integers; a parser of clap's for each type is 7 KB of code.
            Text | Int | LongInt => {
                arg.action(ArgAction::Set).value_parser(ValueParser::os_string())
            }
            Texts => arg.action(ArgAction::Append).value_parser(ValueParser::os_string()),
        }
    }
}

/// A command that knows the given options and nothing else.
pub(super) fn command<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Command {
    Command::new("conmon")
        .disable_help_flag(true)
        .disable_version_flag(true)
        // The last of several wins.
        .args_override_self(true)
        .args(rows.into_iter().map(Row::arg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_clap_accepts_as_consistent() {
        command(&ROWS).debug_assert();
    }

    #[test]
    fn no_spelling_occurs_twice() {
        for (index, row) in ROWS.iter().enumerate() {
            for other in &ROWS[..index] {
                let mut longs = [Some(row.long), row.alias].into_iter().flatten();
                let mut shorts = [row.short, row.short_alias].into_iter().flatten();
                assert!(!longs.any(|name| other.has_long(name.as_bytes())), "{row:?} {other:?}");
                assert!(!shorts.any(|letter| other.has_short(letter)), "{row:?} {other:?}");
            }
        }
    }
}
