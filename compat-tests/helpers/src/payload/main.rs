//! The program inside test containers: verbs on the command line, carried out in order.
//!
//! Static and without dependencies, so it needs nothing in the root file system. It starts
//! without the standard library's prologue, which would open closed descriptors and ignore
//! SIGPIPE: the payload reports what it inherited.

#![no_main]

#[allow(dead_code, reason = "the recorders use more of it")]
#[path = "../shared/fd_facts.rs"]
mod fd_facts;
mod sys;
mod verbs;

use std::ffi::{OsString, c_char, c_int};

/// The status for a wrong command line or a verb that could not be carried out.
const FAILED: c_int = 125;

#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _vector: *const *const c_char) -> c_int {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // In a container, where it is the root's only program, no verb is nothing to do.
    if arguments.is_empty() && std::env::args_os().next().is_none_or(|name| name != "/payload") {
        arguments.push("help".into());
    }
    match verbs::run(&arguments) {
        Ok(status) => status,
        Err(problem) => {
            let _ = sys::write_all(2, format!("payload: {problem}\n").as_bytes());
            FAILED
        }
    }
}
