//! What the commands print. Whoever reads it may leave before its end (`list | head`); a run goes on to its reports and its
//! exit status all the same.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

/// Prints `text` to standard output.
pub fn print(text: impl Display) {
    let mut out = stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("cannot write to standard output: {error}");
        }
        _ => {}
    }
}

/// Prints `text` and the end of a line.
pub fn print_line(text: impl Display) {
    print(format_args!("{text}\n"));
}
