//! Runs one script with a deadline, its output kept in files so that nobody can hold it up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::stop;

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// The deadline passed; everything in its process group was killed.
    TimedOut,
    Stopped,
}

pub struct Finished {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Waits for a fact with a deadline; true if it came.
pub fn wait_for(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !fact() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Runs `text` in bash with exactly `environment`, in `directory`.
///
/// # Errors
///
/// The output files cannot be made, or bash cannot be started.
pub fn run(
    prefix: &[String],
    text: &str,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    limit: Duration,
) -> io::Result<Finished> {
    let (out, err) = (directory.join("stdout"), directory.join("stderr"));
    // setpriv: the script ends with us even if we are killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(prefix).args(["bash", "-c", text]);
    command.current_dir(directory).env_clear().envs(environment).process_group(0);
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = command.spawn()?;
    let end = wait(&mut child, limit)?;
    Ok(Finished { end, stdout: std::fs::read(&out)?, stderr: std::fs::read(&err)? })
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<End> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(
                status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            ));
        }
        let stop = stop::asked();
        if stop || Instant::now() >= deadline {
            if let Ok(group) = i32::try_from(child.id()) {
                let _already_gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            child.wait()?;
            return Ok(if stop { End::Stopped } else { End::TimedOut });
        }
        thread::sleep(Duration::from_millis(10));
    }
}
