//! Carrying the script out.

use crate::arguments::Call;
use crate::console::{self, Console};
use crate::problem::Problem;
use crate::script::{Parent, Script, Start, Step};
use crate::sys;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, execv, mkfifo, setsid};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// The status of a container process whose program cannot be executed, as in a shell.
const NOT_EXECUTED: i32 = 127;

/// One call of create, restore or exec.
pub struct Run<'a> {
    call: &'a Call,
    script: Script,
    console: Console,
    container: Option<Pid>,
}

/// Lets the container of `call` go on, which waits for it at its FIFO.
pub fn let_go(call: &Call) -> Result<(), Problem> {
    let fifo = start_fifo(call);
    File::options().write(true).open(&fifo).map_err(io_problem("start"))?;
    fs::remove_file(fifo).map_err(io_problem("start"))
}

fn start_fifo(call: &Call) -> std::path::PathBuf {
    call.beside(&format!(".{}.start", call.container_id.to_string_lossy()))
}

fn io_problem<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Problem {
    move |error| Problem::Io { what, error: error.into() }
}

impl<'a> Run<'a> {
    pub fn new(call: &'a Call, script: Script) -> Self {
        Self { call, script, console: Console::default(), container: None }
    }

    /// Carries out all steps; returns the status to end with.
    pub fn carry_out(mut self) -> Result<i32, Problem> {
        for step in std::mem::take(&mut self.script.steps) {
            if let Step::Exit(status) = step {
                return Ok(status);
            }
            self.step(&step)?;
        }
        Ok(0)
    }

    fn step(&mut self, step: &Step) -> Result<(), Problem> {
        match step {
            Step::Container => self.start_container(),
            Step::WaitContainer => {
                waitpid(self.pid()?, None).map(drop).map_err(io_problem("wait-container"))
            }
            Step::AwaitContainer => {
                sys::await_end(self.pid()?).map_err(io_problem("await-container"))
            }
            Step::KillContainer => {
                kill(self.pid()?, Signal::SIGKILL).map_err(io_problem("kill-container"))
            }
            Step::PidFile => self.write_pid_file(&self.pid()?.to_string()),
            Step::PidFileText(text) => self.write_pid_file(text),
            Step::LatePidFile(path) => self.leave_pid_writer(path),
            Step::Console(handover) => {
                let path = self.call.console_socket.as_ref();
                let path = path.ok_or(Problem::Missing("--console-socket"))?;
                self.console =
                    console::hand_over(path, *handover).map_err(io_problem("console"))?;
                Ok(())
            }
            Step::AwaitConsole => self.console.await_taken().map_err(io_problem("await-console")),
            Step::Print { fd: 1, text } => print(io::stdout(), text),
            Step::Print { text, .. } => print(io::stderr(), text),
            Step::LeaveHolder(path) => leave_holder(path),
            Step::WaitFile(path) => {
                wait_for(path);
                Ok(())
            }
            Step::Touch(path) => fs::write(path, b"").map_err(io_problem("touch")),
            Step::Hang => {
                wait_for(&self.call.beside(".never"));
                Ok(())
            }
            Step::Ignore(signal) => sys::ignore(*signal).map_err(io_problem("ignore")),
            Step::KillSelf(signal) => raise(*signal).map_err(io_problem("kill-self")),
            Step::Exit(_) => Ok(()),
        }
    }

    fn pid(&self) -> Result<Pid, Problem> {
        self.container.ok_or(Problem::Missing("container process"))
    }

    fn start_container(&mut self) -> Result<(), Problem> {
        let words = self.script.container.iter().map(|word| CString::new(word.as_str()));
        let argv: Vec<CString> =
            words.collect::<Result<_, _>>().map_err(io_problem("container"))?;
        let program = argv.first().ok_or(Problem::Missing("container in its script"))?;
        if self.script.start == Start::OnStart {
            mkfifo(&start_fifo(self.call), Mode::S_IRWXU).map_err(io_problem("mkfifo"))?;
        }
        self.container = Some(match self.script.parent {
            Parent::Runtime => match sys::fork_process().map_err(io_problem("fork"))? {
                ForkResult::Parent { child } => child,
                ForkResult::Child => self.become_container(program, &argv),
            },
            Parent::Intermediate => self.fork_intermediate(program, &argv)?,
        });
        // Only the container keeps the terminal open from here on.
        self.console.terminal = None;
        Ok(())
    }

    /// Starts the container from a process between, which stays until the container has ended.
    fn fork_intermediate(&mut self, program: &CString, argv: &[CString]) -> Result<Pid, Problem> {
        let (reader, writer) = nix::unistd::pipe().map_err(io_problem("pipe"))?;
        if let ForkResult::Child = sys::fork_process().map_err(io_problem("fork"))? {
            match sys::fork_process() {
                Ok(ForkResult::Child) => self.become_container(program, argv),
                Ok(ForkResult::Parent { child }) => {
                    let _ = File::from(writer).write_all(&child.as_raw().to_ne_bytes());
                    let_go_of_descriptors();
                    let _ = waitpid(child, None);
                    sys::exit_now(0)
                }
                Err(_) => sys::exit_now(NOT_EXECUTED),
            }
        }
        drop(writer);
        let mut pid = [0; 4];
        File::from(reader).read_exact(&mut pid).map_err(io_problem("intermediate"))?;
        Ok(Pid::from_raw(i32::from_ne_bytes(pid)))
    }

    /// In the forked child: becomes the container process.
    fn become_container(&mut self, program: &CString, argv: &[CString]) -> ! {
        self.console.close_connection();
        let _ = setsid();
        if let Some(terminal) = self.console.terminal.take() {
            let _ = dup2_stdin(&terminal).and(dup2_stdout(&terminal)).and(dup2_stderr(&terminal));
            sys::take_terminal();
        }
        sys::close_above_standard();
        if self.script.start == Start::OnStart {
            let _ = File::open(start_fifo(self.call));
        }
        let error = execv(program, argv);
        let _ = writeln!(io::stderr(), "standin-runtime: exec {program:?}: {error:?}");
        sys::exit_now(NOT_EXECUTED)
    }

    /// Writes the pid file as real runtimes do: under another name, then renamed.
    fn write_pid_file(&self, text: &str) -> Result<(), Problem> {
        let path = self.call.pid_file.as_ref().ok_or(Problem::Missing("--pid-file"))?;
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        fs::write(&temporary, text).map_err(io_problem("pid file"))?;
        fs::rename(temporary, path).map_err(io_problem("pid file"))
    }

    fn leave_pid_writer(&self, path: &Path) -> Result<(), Problem> {
        let text = self.pid()?.to_string();
        if let ForkResult::Child = sys::fork_process().map_err(io_problem("fork"))? {
            let_go_of_descriptors();
            wait_for(path);
            let written = self.write_pid_file(&text);
            sys::exit_now(i32::from(written.is_err()));
        }
        Ok(())
    }
}

fn print(mut stream: impl Write, text: &[u8]) -> Result<(), Problem> {
    stream.write_all(text).and_then(|()| stream.flush()).map_err(io_problem("print"))
}

fn leave_holder(path: &Path) -> Result<(), Problem> {
    if let ForkResult::Child = sys::fork_process().map_err(io_problem("fork"))? {
        sys::close_above_standard();
        wait_for(path);
        sys::exit_now(0);
    }
    Ok(())
}

/// Closes what a process left behind would keep from its readers.
fn let_go_of_descriptors() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null));
    }
    sys::close_above_standard();
}

/// Waits until `path` exists, or its directory does not.
fn wait_for(path: &Path) {
    while !path.exists() && path.parent().is_none_or(Path::exists) {
        std::thread::sleep(Duration::from_millis(2));
    }
}
