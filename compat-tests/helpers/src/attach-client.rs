//! A small attach client: shows what a container prints and types into it.
//!
//! It does for `scripts/run` what an engine does: connects before the container is started, copies both ways, makes the
//! caller's terminal raw, and passes on changes of its size. It must give the terminal back in every case.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send, shutdown,
    socket,
};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

const USAGE: &str = "\
attach-client [-i] [-t] [--ctl FIFO] SOCKET [-- COMMAND [ARG...]]

Connects to the attach socket of a container, then runs COMMAND (which starts the container), then copies the
container's output until its end.
  -i          copy standard input to the container
  -t          the container has a terminal: make ours raw; Ctrl-P Ctrl-Q detaches
  --ctl FIFO  tell the monitor the size of our terminal, now and when it changes
Exit status: 0 the container ended, 3 detached, 1 an error, 128+N ended by signal N.";

/// The two bytes that detach from a terminal.
const DETACH_KEYS: [u8; 2] = [0x10, 0x11];
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
/// One byte for the stream, then at most this much of it.
const OUTPUT_CHUNK: usize = 8192;
/// What a monitor reads at once from a client.
const INPUT_CHUNK: usize = 32768;
const DETACHED: u8 = 3;

#[derive(Default)]
struct Options {
    stdin: bool,
    terminal: bool,
    ctl: Option<PathBuf>,
    socket: PathBuf,
    command: Vec<OsString>,
}

/// What ended the session.
enum End {
    Container,
    Detached,
    Signal(i32),
}

fn main() -> ExitCode {
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            complain(&format!("{reason}\n{USAGE}"));
            return ExitCode::FAILURE;
        }
    };
    match attach(&options) {
        Ok(End::Container) => ExitCode::SUCCESS,
        Ok(End::Detached) => ExitCode::from(DETACHED),
        Ok(End::Signal(number)) => ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX)),
        Err(error) => {
            complain(&format!("attach-client: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error; there is nobody to tell when that fails.
fn complain(text: &str) {
    let _unheard = writeln!(io::stderr(), "{text}");
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-i") => options.stdin = true,
            Some("-t") => options.terminal = true,
            Some("--ctl") => {
                options.ctl = Some(arguments.next().ok_or("--ctl needs a path")?.into())
            }
            Some("--") => options.command = arguments.by_ref().collect(),
            Some(other) if other.starts_with('-') => return Err(format!("unknown option {other}")),
            _ if options.socket.as_os_str().is_empty() => options.socket = argument.into(),
            _ => return Err("more than one socket".to_owned()),
        }
    }
    if options.socket.as_os_str().is_empty() {
        return Err("no socket".to_owned());
    }
    Ok(options)
}

fn attach(options: &Options) -> io::Result<End> {
    let socket = connect_to(&options.socket)?;
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        watched.add(signal);
    }
    if !options.command.is_empty() {
        start(&options.command)?;
    }
    // Only now: the command must not inherit the mask.
    watched.thread_block()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    if let Some(ctl) = &options.ctl {
        send_size(ctl);
    }
    let stdin = io::stdin();
    let _raw = if options.terminal && stdin.is_terminal() {
        Some(RawTerminal::enter(stdin.as_fd())?)
    } else {
        None
    };
    Session {
        options,
        socket: &socket,
        signals: &signals,
        pending: Vec::new(),
        input: options.stdin,
        prefix: 0,
    }
    .run()
}

/// Connects through the directory's descriptor, so that the path may be longer than a socket address.
fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or(OsStr::new("attach"));
    let directory = open(directory, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let address = UnixAddr::new(
        &Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name),
    )?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(client.as_raw_fd(), &address)?;
    Ok(client)
}

/// Runs the command that starts the container and waits for it.
fn start(command: &[OsString]) -> io::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let status =
        Command::new(program).args(arguments).stdin(std::process::Stdio::null()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} failed: {status}", Path::new(program).display())))
}

/// Tells the monitor how large our terminal is; a container without a terminal has no use for it.
fn send_size(ctl: &Path) {
    let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) else { return };
    let fifo = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(ctl);
    let sent = fifo.and_then(|mut fifo| {
        fifo.write_all(format!("1 {} {}\n", size.ws_row, size.ws_col).as_bytes())
    });
    if let Err(error) = sent {
        complain(&format!("attach-client: {}: {error}", ctl.display()));
    }
}

/// The caller's terminal in raw mode, until this is dropped.
struct RawTerminal<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawTerminal<'a> {
    fn enter(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(terminal, SetArg::TCSANOW, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        let _gone = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

struct Session<'a> {
    options: &'a Options,
    socket: &'a OwnedFd,
    signals: &'a SignalFd,
    /// Input the monitor has not taken yet; no more is read meanwhile.
    pending: Vec<u8>,
    /// Whether standard input still has something for the container.
    input: bool,
    /// How many of the detach keys have been typed.
    prefix: usize,
}

impl Session<'_> {
    fn run(&mut self) -> io::Result<End> {
        loop {
            let stdin = io::stdin();
            let mut wanted = PollFlags::POLLIN;
            if !self.pending.is_empty() {
                wanted |= PollFlags::POLLOUT;
            }
            let mut fds = vec![
                PollFd::new(self.socket.as_fd(), wanted),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            if self.input && self.pending.is_empty() {
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let ready = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
            let (from_socket, from_signals, from_stdin) = (ready(0), ready(1), ready(2));
            if from_signals {
                if let Some(number) = self.take_signal()? {
                    return Ok(End::Signal(number));
                }
            }
            if from_socket {
                if !self.take_output()? {
                    return Ok(End::Container);
                }
                self.send_pending()?;
            }
            if from_stdin && !self.take_input(stdin.as_fd())? {
                return Ok(End::Detached);
            }
        }
    }

    /// Returns the signal that ends us, if that is what came.
    fn take_signal(&self) -> io::Result<Option<i32>> {
        while let Some(signal) = self.signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number != Signal::SIGWINCH as i32 {
                return Ok(Some(number));
            }
            if let Some(ctl) = &self.options.ctl {
                send_size(ctl);
            }
        }
        Ok(None)
    }

    /// Shows what has come; false at the end of the session.
    fn take_output(&self) -> io::Result<bool> {
        let mut packet = [0; OUTPUT_CHUNK + 1];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(false),
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(true),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            match packet.get(..length).and_then(<[u8]>::split_first) {
                Some((&STDOUT, bytes)) => show(io::stdout().lock(), bytes)?,
                Some((&STDERR, bytes)) => show(io::stderr().lock(), bytes)?,
                Some((stream, _)) => {
                    complain(&format!("attach-client: packet for unknown stream {stream}"))
                }
                None => {}
            }
        }
    }

    /// Reads what was typed; false if that was the wish to detach.
    fn take_input(&mut self, stdin: BorrowedFd<'_>) -> io::Result<bool> {
        let mut bytes = [0; INPUT_CHUNK];
        let length = match nix::unistd::read(stdin, &mut bytes) {
            // A terminal that is gone reads as an error.
            Ok(0) | Err(Errno::EIO) => {
                self.input = false;
                shutdown(self.socket.as_raw_fd(), Shutdown::Write).or_else(
                    |errno| match errno {
                        Errno::ENOTCONN => Ok(()),
                        other => Err(other),
                    },
                )?;
                return Ok(true);
            }
            Ok(length) => length,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        for &byte in bytes.iter().take(length) {
            if self.options.terminal && DETACH_KEYS.get(self.prefix) == Some(&byte) {
                self.prefix += 1;
                if self.prefix == DETACH_KEYS.len() {
                    return Ok(false);
                }
                continue;
            }
            // The first key alone was meant for the container after all.
            self.pending.extend(DETACH_KEYS.iter().take(self.prefix));
            self.prefix = 0;
            self.pending.push(byte);
        }
        self.send_pending()?;
        Ok(true)
    }

    /// Sends what the monitor takes without making us wait: output has to flow meanwhile.
    fn send_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let chunk = self.pending.get(..INPUT_CHUNK).unwrap_or(&self.pending);
            match send(self.socket.as_raw_fd(), chunk, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                // The container is gone; the socket's end will say so.
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    self.pending.clear();
                    self.input = false;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn show(mut output: impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes)?;
    output.flush()
}
