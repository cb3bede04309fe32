//! The processes around a benchmark, so that it leaves no monitor behind, however it ends.
//!
//! The one that was called only waits. The *guard*, in a session of its own, notices when that is gone, ends the *worker* and
//! removes its directories. The worker is process 1 of a pid namespace: its end is the end of every monitor.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::setsid;

use super::lab::directories;
use super::options::{self, Options};
use super::problem::{Problem, told};
use super::run::run;
use crate::world::keeper::start_held;
use crate::world::mounts::{mount_proc, private_mounts};

/// The hidden sub-commands. Both are followed by the run's number and the benchmark's own words.
pub const GUARD: &str = "__bench-guard";
pub const WORKER: &str = "__bench";

/// Has a guard carry out the benchmark, and returns its exit status.
pub(super) fn guarded(
    number: u32,
    words: &[OsString],
    options: &Options,
) -> Result<ExitCode, Problem> {
    let mut guard = command(GUARD, number, words)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(Problem::io("starting the guard"))?;
    // It ends with this process, whatever ends that.
    let life = guard.stdin.take();
    let status = guard.wait().map_err(Problem::io("the guard"))?;
    drop(life);
    if status.code().is_none() {
        remove_directories(number, options);
    }
    Ok(passed_on(status))
}

/// The guard's life.
#[must_use]
pub fn guard(words: &[OsString]) -> ExitCode {
    told(given(words).and_then(|(number, words, options)| {
        // A terminal's signals are for the one that was called.
        setsid().map_err(Problem::io("a session of its own"))?;
        let mut worker = command(WORKER, number, words);
        let mut worker = start_held(worker.stdin(Stdio::null()), std::io::stdin(), true)
            .map_err(Problem::chain)?;
        let status = worker.wait().map_err(Problem::io("the worker"));
        remove_directories(number, &options);
        status.map(passed_on)
    }))
}

/// The worker's life.
#[must_use]
pub fn work(words: &[OsString]) -> ExitCode {
    told(given(words).and_then(|(number, _, options)| {
        unshare(CloneFlags::CLONE_NEWNS).map_err(Problem::io("a mount namespace of our own"))?;
        private_mounts().and_then(|()| mount_proc()).map_err(Problem::chain)?;
        run(number, &options).map(|()| ExitCode::SUCCESS)
    }))
}

fn command(role: &str, number: u32, words: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("conmon-compat").arg(role).arg(number.to_string()).args(words);
    command
}

/// The run's number, the benchmark's words and what they ask for.
fn given(words: &[OsString]) -> Result<(u32, &[OsString], Options), Problem> {
    let (number, words) = words.split_first().ok_or_else(|| Problem::new("no number"))?;
    let number = number.to_str().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Problem::new("not a run's number"))?;
    let options = options::parse(words)?.ok_or_else(|| Problem::new("nothing to do"))?;
    Ok((number, words, options))
}

/// The worker has done so itself if nobody has killed it.
fn remove_directories(number: u32, options: &Options) {
    for directory in directories(number, options) {
        let _ = fs::remove_dir_all(directory);
    }
}

fn passed_on(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
