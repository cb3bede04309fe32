//! Saying that this host cannot run a test.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Says why the calling test is not run here: on stderr, and as a line `TEST: REASON` of the file `CONMON_SKIP_LOG`, whose lines
/// `scripts/test` counts and lists.
pub fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
    let Some(path) = std::env::var_os("CONMON_SKIP_LOG") else { return };
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    // In one piece: many tests write to it.
    let log = OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = log.and_then(|mut log| log.write_all(line.as_bytes())) {
        eprintln!("{}: {error}", Path::new(&path).display());
    }
}
