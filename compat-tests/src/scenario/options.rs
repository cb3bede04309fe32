//! The options that a monitor knows, for refusing what can only be a mistake in a scenario.

/// Options that take a value, by their spellings.
const WITH_VALUE: &[&str] = &[
    "--bundle",
    "-b",
    "--cid",
    "-c",
    "--conmon-pidfile",
    "-P",
    "--container-pidfile",
    "-p",
    "--cuuid",
    "-u",
    "--exec-process-spec",
    "--exit-command",
    "--exit-command-arg",
    "--exit-delay",
    "--exit-dir",
    "--log-level",
    "--log-path",
    "-l",
    "--log-size-max",
    "--log-global-size-max",
    "--log-tag",
    "--log-label",
    "--name",
    "-n",
    "--persist-dir",
    "-0",
    "--restore",
    "--runtime",
    "-r",
    "--runtime-arg",
    "--runtime-opt",
    "--sdnotify-socket",
    "--socket-dir-path",
    "--timeout",
    "-T",
    "--log-max-files",
    "--log-allowlist-dir",
];
const FLAGS: &[&str] = &[
    "--api-version",
    "--exec",
    "-e",
    "--exec-attach",
    "--full-attach",
    "--leave-stdin-open",
    "--no-new-keyring",
    "--no-pivot",
    "--no-sync-log",
    "--replace-listen-pid",
    "--stdin",
    "-i",
    "--sync",
    "--syslog",
    "--systemd-cgroup",
    "-s",
    "--terminal",
    "-t",
    "--log-rotate",
];

/// Whether `without` may name this option.
pub fn knows_option(option: &str) -> bool {
    WITH_VALUE.contains(&option) || FLAGS.contains(&option)
}

/// Whether the next word is the option's value.
#[must_use]
pub fn takes_value(option: &str) -> bool {
    WITH_VALUE.contains(&option)
}
