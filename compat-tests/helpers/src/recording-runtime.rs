//! Stands in front of a real OCI runtime: records how it was called, then becomes it.
//!
//! Copied or linked to a place of its own and given to the monitor as runtime. Beside it,
//! as `<argv[0]>.json`, lies `{"real": PATH, "prepend": [ARGUMENT...], "record": DIRECTORY}`.
//! The record is described in `shared/record.rs`; the real runtime keeps `argv[0]`, and gets
//! the prepended arguments before its own.

#![no_main]

#[path = "shared/fd_facts.rs"]
mod fd_facts;
#[path = "shared/record.rs"]
mod record;

use std::convert::Infallible;
use std::error::Error;
use std::ffi::{CString, OsString, c_char, c_int};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The status when nothing could be recorded or run.
const FAILED: c_int = 125;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    real: PathBuf,
    #[serde(default)]
    prepend: Vec<String>,
    record: PathBuf,
}

#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _vector: *const *const c_char) -> c_int {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "recording-runtime: {error}");
            FAILED
        }
    }
}

fn run() -> Result<Infallible, Box<dyn Error>> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (program, own) = arguments.split_first().ok_or("no argv[0]")?;
    let mut settings_path = program.clone();
    settings_path.push(".json");
    let settings = fs::read(&settings_path)
        .map_err(|error| format!("{}: {error}", Path::new(&settings_path).display()))?;
    let settings: Settings = serde_json::from_slice(&settings)?;
    record::write(&settings.record, &record::observe())?;

    let prepended = settings.prepend.into_iter().map(OsString::from);
    let all = std::iter::once(program.clone()).chain(prepended).chain(own.iter().cloned());
    let argv: Vec<CString> = all.map(c_string).collect::<Result<_, _>>()?;
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(name)
    };
    let env: Vec<CString> = std::env::vars_os().map(variable).collect::<Result<_, _>>()?;
    let real = CString::new(settings.real.as_os_str().as_bytes())?;
    // Not through std's Command: that resets the signal mask and SIGPIPE.
    let never = nix::unistd::execve(&real, &argv, &env)
        .map_err(|errno| format!("exec {}: {errno}", settings.real.display()))?;
    Ok(never)
}

fn c_string(word: OsString) -> Result<CString, std::ffi::NulError> {
    CString::new(word.into_vec())
}
