//! One life of a monitor in which one system call fails.
//!
//! `fault-stage stage` reads a request (JSON) from standard input and prints an outcome. It is
//! process 1 of a pid namespace with private mounts, traces the monitor with ptrace(2), and
//! plays everybody around it: the caller, attach clients, the journal, the system log and the
//! service manager. When it ends, so does everything it started.
//!
//! Called as `runtime` it is the container's runtime and then the container, as `exit-command`
//! the exit command.

#![allow(
    clippy::exit,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a program of the suite; its slices are checked where they are made"
)]

mod calls;
mod clients;
mod container;
mod lives;
mod outcome;
mod peers;
mod place;
mod player;
#[cfg(target_arch = "x86_64")]
mod tracer;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use outcome::{Outcome, Request};

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    match (name, arguments.get(1).map(String::as_str)) {
        ("runtime", _) => container::runtime(&arguments),
        ("exit-command", _) => container::exit_command(),
        (_, Some("stage")) => stage(),
        _ => {
            eprintln!("fault-stage is started by conmon-compat");
            ExitCode::from(2)
        }
    }
}

fn stage() -> ExitCode {
    let outcome = match place::enter() {
        Err(error) => broken(&error),
        // The process outside of the namespace only waits.
        Ok(Some(status)) => return status,
        Ok(None) => play().unwrap_or_else(|error| broken(&error)),
    };
    let text = serde_json::to_vec(&outcome).unwrap_or_default();
    let written = std::io::stdout().write_all(&text);
    // Not a return: threads may still be reading.
    std::process::exit(i32::from(written.is_err()));
}

fn broken(error: &std::io::Error) -> Outcome {
    Outcome { broken: Some(error.to_string()), ..Outcome::default() }
}

#[cfg(not(target_arch = "x86_64"))]
fn play() -> std::io::Result<Outcome> {
    Err(std::io::Error::other("faults are only known for x86-64"))
}

#[cfg(target_arch = "x86_64")]
fn play() -> std::io::Result<Outcome> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let life = lives::find(&request.life)
        .ok_or_else(|| std::io::Error::other(format!("no life {:?}", request.life)))?;
    place::build()?;
    life.furnish_bundle()?;
    let peers = peers::Peers::listen()?;
    let pipes = player::Pipes::new(life)?;
    tracer::hold_child_signals()?;
    let child = player::launch(&request.monitor, life, &pipes)?;
    let state = Arc::new(Mutex::new(tracer::State::default()));
    let launched = nix::unistd::Pid::from_raw(i32::try_from(child).map_err(std::io::Error::other)?);
    // Known before the player looks for whoever is alive.
    let tracer = tracer::Tracer::new(launched, life.keeps_process(), request.fault, &state);
    let player = {
        let state = Arc::clone(&state);
        std::thread::spawn(move || player::play(life, pipes, peers, &state))
    };
    let traced = tracer.run(|| player.is_finished());
    let mut outcome = player.join().map_err(|_| std::io::Error::other("the player died"))??;
    traced?;
    let state = state.lock().map_err(|_| std::io::Error::other("the tracer died"))?;
    outcome.calls.clone_from(&state.calls);
    outcome.call_count = state.call_count;
    outcome.cpu_ms = state.cpu_ms;
    outcome.reached = state.reached;
    outcome.launched = state.launched_status;
    outcome.monitor = state.monitor_status;
    Ok(outcome)
}
