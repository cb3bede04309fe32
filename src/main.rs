//! conmon: monitors one OCI container from its creation to the record of its exit.
#![deny(unsafe_code)]

mod atomic_file;
mod attach;
mod cgroup;
mod cli;
mod config;
mod control;
mod diagnostics;
mod exit;
mod failure;
mod launch;
mod lifecycle;
mod log;
mod monitor;
mod notify;
mod oom_score;
mod runtime;
mod signals;
mod stdio;
mod stream;
mod sync_pipe;
#[allow(unsafe_code)]
mod sys;
mod unix_socket;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(lifecycle::run())
}
