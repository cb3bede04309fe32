//! The help output, from the table.

use clap::{Arg, Command};

/// Blanks around the option column: two before it, at least this many after it.
const GAP: usize = 5;

/// Everything `--help` prints for a program called `program`.
pub(super) fn text(table: &Command, program: &[u8]) -> Vec<u8> {
    let width = table.get_arguments().map(|arg| names(arg).len()).max().unwrap_or(0) + GAP;
    let mut text = Vec::with_capacity(5120);
    text.extend_from_slice(b"Usage:\n  ");
    text.extend_from_slice(program);
    text.extend_from_slice(" [OPTION…] - conmon utility\n\nHelp Options:\n".as_bytes());
    for arg in table.get_arguments() {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        text.extend_from_slice(format!("  {:width$}{help}\n", names(arg)).as_bytes());
        if matches!(arg.get_action(), clap::ArgAction::Help) {
            text.extend_from_slice(b"\nApplication Options:\n");
        }
    }
    text.push(b'\n');
    text
}

/// `-r, --runtime`, or `--runtime` alone without a letter; aliases stay unsaid.
fn names(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    arg.get_short().map_or_else(|| format!("--{long}"), |short| format!("-{short}, --{long}"))
}
