//! A stand-in for an OCI runtime: does what its script says, also what no real one would.
//!
//! The script lies beside `argv[0]`; `--help` describes it. The stand-in creates no namespaces:
//! its container is a process of the host. It starts without the standard library's prologue
//! and does nothing it is not told to, so that it also serves as the runtime of benchmarks.

#![cfg_attr(not(test), no_main)]

mod arguments;
mod console;
mod problem;
mod script;
mod steps;
mod sys;

use std::ffi::{OsString, c_char, c_int};
use std::io::Write;

/// The status for a bad script or command line, apart from what scripts ask for.
const FAILED: c_int = 125;

const HELP: &str = "\
A stand-in for an OCI runtime.

Calls understood (everything else on the command line is accepted and ignored):
  create|restore|exec [--bundle DIR] [--pid-file PATH] [--console-socket PATH] ... CID
  start CID           lets a container go on that waits for it
  --help

The script is the file ARGV0.script.toml:
  container = [\"/path/of/program\", \"argument\"]
  start = \"at-once\"    default; or \"on-start\": wait for `start CID`
  parent = \"runtime\"   default: the runtime's child, so the monitor inherits it;
                       or \"intermediate\": the child of a process that outlives the runtime
  steps = [[\"container\"], [\"pid-file\"]]
  [exec]              the same four keys, for exec; without this table exec does as create does
  [restore]           likewise

Without steps: container, pid-file; with a console socket console before and await-console after.
In every word {cid}, {bundle} and {pid-file} stand for what the call said. Steps:
  container           start the container process, in a session of its own, on the runtime's
                      standard descriptors or on the terminal made by `console`
  wait-container      wait for its end and reap it: the monitor never sees that process
  await-container     wait for its end and leave it to be reaped by the monitor
  kill-container      SIGKILL
  pid-file            write its pid to the pid file, through a rename
  pid-file TEXT       write TEXT instead
  late-pid-file PATH  leave a process behind that writes the pid file once PATH exists
  console             make a terminal and send it to the console socket
  console null-fd     send a descriptor of /dev/null     console two-fds   send two terminals
  console no-fd       send text alone                    console close     connect and close
  console nothing     connect and stay silent
  await-console       wait until the monitor has taken what was sent, as a real runtime, being
                      slower, always finds it
  stdout TEXT         stderr TEXT                        as they are, without a newline
  stdout-bytes N      stderr-bytes N                     so many times `x`
  stderr-hex HEX      these bytes
  leave-holder PATH   leave a process behind that holds standard descriptors until PATH exists
  wait-file PATH      until PATH exists                  touch PATH
  hang                for ever
  ignore SIG          kill-self SIG                      numbers, or names such as TERM
  exit N              end here; 0 at the end of the steps
Every wait ends too when the directory of PATH, for `hang` the directory of the script, is
removed. A script or call that cannot be understood: status 125 and a message.
";

#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn main(_count: c_int, _vector: *const *const c_char) -> c_int {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--help") {
        return c_int::from(std::io::stdout().write_all(HELP.as_bytes()).is_err());
    }
    run(&words).unwrap_or_else(|problem| {
        let _ = writeln!(std::io::stderr(), "standin-runtime: {problem}");
        FAILED
    })
}

fn run(words: &[OsString]) -> Result<c_int, problem::Problem> {
    let call = arguments::parse(words)?;
    if call.command == arguments::Command::Start {
        return steps::let_go(&call).map(|()| 0);
    }
    let script = script::load(&call)?;
    steps::Run::new(&call, script).carry_out()
}
