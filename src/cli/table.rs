//! The one table of options: names, kinds of value and help texts.
//!
//! The order is that of the help output. Spelling and help texts are part of the interface,
//! mistakes included: callers search the help output for option names.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, value_parser};

/// The table as clap holds it. Help is never printed by clap, which is built without it.
pub(super) fn command() -> Command {
    Command::new("conmon")
        .disable_help_flag(true)
        .disable_version_flag(true)
        // The last of several wins.
        .args_override_self(true)
        .args(args())
}

#[rustfmt::skip]
fn args() -> [Arg; 45] {
    [
        help(),
        flag("api-version", "Conmon API version to use"),
        string("bundle", "Location of the OCI Bundle path").short('b'),
        string("cid", "Identification of Container").short('c'),
        string("conmon-pidfile", "PID file for the conmon process").short('P'),
        string("container-pidfile", "PID file for the initial pid inside of container").short('p').alias("pidfile"),
        string("cuuid", "Container UUID").short('u'),
        flag("exec", "Exec a command into a running container").short('e'),
        flag("exec-attach", "Attach to an exec session"),
        string("exec-process-spec", "Path to the process spec for execution"),
        string("exit-command", "Path to the program to execute when the container terminates its execution"),
        array("exit-command-arg", "Additional arg to pass to the exit command.  Can be specified multiple times"),
        int("exit-delay", "Delay before invoking the exit command (in seconds)"),
        string("exit-dir", "Path to the directory where exit files are written"),
        flag("leave-stdin-open", "Leave stdin open when attached client disconnects"),
        string("log-level", "Print debug logs based on log level"),
        array("log-path", "Log file path").short('l'),
        long_int("log-size-max", "Maximum size of log file"),
        long_int("log-global-size-max", "Maximum size of all log files"),
        string("log-tag", "Additional tag to use for logging"),
        array("log-label", "Additional label to include in logs. Can be specified multiple times"),
        flag("no-container-partial-message", "Do not set CONTAINER_PARTIAL_MESSAGE=true for partial lines in journald logs (journald driver only)"),
        string("name", "Container name").short('n'),
        flag("no-new-keyring", "Do not create a new session keyring for the container"),
        flag("no-pivot", "Do not use pivot_root"),
        flag("no-sync-log", "Do not manually call sync on logs after container shutdown"),
        string("persist-dir", "Persistent directory for a container that can be used for storing container data").short('0'),
        flag("replace-listen-pid", "Replace listen pid if set for oci-runtime pid"),
        string("restore", "Restore a container from a checkpoint"),
        string("runtime", "Path to store runtime data for the container").short('r'),
        array("runtime-arg", "Additional arg to pass to the runtime. Can be specified multiple times"),
        array("runtime-opt", "Additional opts to pass to the restore or exec command. Can be specified multiple times").alias("restore-arg"),
        string("sdnotify-socket", "Path to the host's sd-notify socket to relay messages to"),
        string("socket-dir-path", "Location of container attach sockets"),
        flag("stdin", "Open up a pipe to pass stdin to the container").short('i'),
        flag("sync", "Keep the main conmon process as its child by only forking once"),
        flag("syslog", "Log to syslog (use with cgroupfs cgroup manager)"),
        flag("systemd-cgroup", "Enable systemd cgroup manager, rather then use the cgroupfs directly").short('s'),
        flag("terminal", "Allocate a pseudo-TTY. The default is false").short('t'),
        int("timeout", "Kill container after specified timeout in seconds.").short('T'),
        flag("version", "Print the version and exit"),
        flag("full-attach", "Don't truncate the path to the attach socket. This option causes conmon to ignore --socket-dir-path"),
        flag("log-rotate", "Enable log rotation instead of truncation when log-size-max is reached"),
        int("log-max-files", "Number of backup log files to keep (default: 1)"),
        array("log-allowlist-dir", "Allowed log directory"),
    ]
}

fn help() -> Arg {
    option("help", ArgAction::Help, "Show help options")
        .short('h')
        .short_alias('?')
        .alias("help-all")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    option(name, ArgAction::SetTrue, help)
}

fn string(name: &'static str, help: &'static str) -> Arg {
    option(name, ArgAction::Set, help).value_parser(ValueParser::os_string())
}

fn array(name: &'static str, help: &'static str) -> Arg {
    option(name, ArgAction::Append, help).value_parser(ValueParser::os_string())
}

/// A 32-bit number.
fn int(name: &'static str, help: &'static str) -> Arg {
    option(name, ArgAction::Set, help).value_parser(value_parser!(i32))
}

/// A 64-bit number.
fn long_int(name: &'static str, help: &'static str) -> Arg {
    option(name, ArgAction::Set, help).value_parser(value_parser!(i64))
}

fn option(name: &'static str, action: ArgAction, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(action).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_clap_accepts_as_consistent() {
        command().debug_assert();
    }
}
