//! The help output, from the table.

use super::table::{Kind, ROWS, Row};

/// How many blanks the longest name leaves before its help text.
const GAP: usize = 5;

/// Everything `--help` prints for a program called `program`.
pub(super) fn text(program: &[u8]) -> Vec<u8> {
    let width = ROWS.iter().map(|row| names(row).len()).max().unwrap_or(0) + GAP;
    let mut text = Vec::with_capacity(5120);
    text.extend_from_slice(b"Usage:\n  ");
    text.extend_from_slice(program);
    text.extend_from_slice(" [OPTION…] - conmon utility\n\nHelp Options:\n".as_bytes());
    for row in &ROWS {
        text.extend_from_slice(format!("  {:width$}{}\n", names(row), row.help).as_bytes());
        if row.kind == Kind::Help {
            text.extend_from_slice(b"\nApplication Options:\n");
        }
    }
    text.push(b'\n');
    text
}

/// `-r, --runtime`, or `--runtime` alone without a letter; aliases stay unsaid.
fn names(row: &Row) -> String {
    let letter = row.short.map(|short| format!("-{}, ", char::from(short)));
    format!("{}--{}", letter.unwrap_or_default(), row.long)
}
