//! conmon: monitors one OCI container from its creation to the record of its exit.
#![deny(unsafe_code)]
// `sys::entry` has the C library's `main`.
#![cfg_attr(not(any(test, fuzzing)), no_main)]
#![cfg_attr(fuzzing, allow(dead_code))]

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

/// What fuzz/ reaches, in a build for it alone.
#[cfg(fuzzing)]
#[path = "../fuzz/entries.rs"]
pub mod entries;

/// Runs the program; returns its exit status.
#[cfg_attr(test, allow(dead_code, reason = "the test harness has its own entry"))]
fn start(arguments: sys::entry::Arguments) -> u8 {
    lifecycle::run(arguments)
}
