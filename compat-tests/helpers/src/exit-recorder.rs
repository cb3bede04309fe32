//! An exit command that records how and when it was called.
//!
//! `exit-recorder DIRECTORY [--sleep-until-file PATH] [--fork-holder PATH] [--exit N]`
//!
//! Writes the record of `shared/record.rs` into DIRECTORY, with one more key: `exists`, which
//! says of each path in the colon-separated list `CONMON_COMPAT_EXISTS` whether it existed.
//! Then the options in their order: wait for a file, leave a child that holds the descriptors
//! until a file exists, end with a status. Waits end too when the directory of PATH is removed.

#![no_main]

#[path = "shared/fd_facts.rs"]
mod fd_facts;
#[path = "shared/record.rs"]
mod record;

use std::error::Error;
use std::ffi::{OsStr, OsString, c_char, c_int};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The status when nothing could be recorded.
const FAILED: c_int = 125;

#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _vector: *const *const c_char) -> c_int {
    run().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "exit-recorder: {error}");
        FAILED
    })
}

fn run() -> Result<c_int, Box<dyn Error>> {
    let mut facts = record::observe();
    let asked = std::env::var_os("CONMON_COMPAT_EXISTS").unwrap_or_default();
    let paths = asked.as_bytes().split(|byte| *byte == b':').filter(|path| !path.is_empty());
    let exists: serde_json::Map<_, _> = paths
        .map(OsStr::from_bytes)
        .map(|path| (record::text(path), Path::new(path).symlink_metadata().is_ok().into()))
        .collect();
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("exists".into(), exists.into());
    }

    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    record::write(Path::new(&directory), &facts)?;
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or("an option without its value")?;
        match option.to_str() {
            Some("--sleep-until-file") => wait_for(&value),
            Some("--fork-holder") => fork_holder(&value)?,
            Some("--exit") => return Ok(value.to_str().unwrap_or_default().parse()?),
            _ => return Err(format!("unknown option {}", option.to_string_lossy()).into()),
        }
    }
    Ok(0)
}

fn wait_for(path: &OsString) {
    let path = Path::new(path);
    while !path.exists() && path.parent().is_none_or(Path::exists) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn fork_holder(path: &OsString) -> Result<(), Box<dyn Error>> {
    // SAFETY: this process has one thread, so the child may go on as usual.
    if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }? {
        wait_for(path);
        // SAFETY: always allowed; nothing is left to be flushed.
        unsafe { libc::_exit(0) }
    }
    Ok(())
}
