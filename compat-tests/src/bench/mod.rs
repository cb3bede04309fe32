//! The benchmark: monitors side by side, measured in turns on the same machine.
//!
//! In each round every subject does the same work once, in rotating order, so that whatever else
//! the machine does falls on all alike. Reported are median, minimum and maximum, and the ratio
//! of the medians to the reference's. Shares nothing with the monitor under test.

mod attach;
mod case;
mod cases;
pub mod guard;
mod html;
mod journal;
mod lab;
mod measure;
mod monitor;
mod options;
mod problem;
mod procfs;
mod report;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use self::problem::{Problem, told};
use self::run::{run, say};

/// Runs the benchmark that the command line asks for.
pub fn main(words: &[OsString]) -> ExitCode {
    told(begin(words))
}

fn begin(words: &[OsString]) -> Result<ExitCode, Problem> {
    let Some(options) = options::parse(words)? else {
        return say(options::HELP).map(|()| ExitCode::SUCCESS);
    };
    let cases = cases::all(&options);
    if options.list {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return say(&names.join("\n")).map(|()| ExitCode::SUCCESS);
    }
    let number = std::process::id();
    if nix::unistd::geteuid().is_root() {
        return guard::guarded(number, words, &options);
    }
    // Without a namespace: a signal that ends this process leaves its monitors.
    run(number, &options).map(|()| ExitCode::SUCCESS)
}
