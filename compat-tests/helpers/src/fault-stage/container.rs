//! The runtime, the container and the exit command, played by this program.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Result, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use nix::pty::openpty;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use crate::lives::{self, Life, NOTIFICATION, STATUS};
use crate::place::{BUNDLE, GO, NOTES};

/// Names the life for the runtime.
pub const LIFE: &str = "FAULT_STAGE_LIFE";

/// Notes that it ran.
pub fn exit_command() -> ExitCode {
    let noted = File::options()
        .create(true)
        .append(true)
        .open(format!("{NOTES}/exit-command"))
        .and_then(|mut notes| notes.write_all(b"1"));
    if noted.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the container and tells its pid, as runtimes do.
pub fn runtime(arguments: &[String]) -> ExitCode {
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &[String]) -> Result<()> {
    let value = |option: &str| {
        let at = arguments.iter().position(|word| word == option)?;
        arguments.get(at + 1)
    };
    let life = std::env::var(LIFE).unwrap_or_default();
    let life = lives::find(&life).ok_or_else(|| std::io::Error::other("no such life"))?;
    let mut terminal = None;
    if let Some(path) = value("--console-socket") {
        let pair = openpty(None, None)?;
        let connection =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        connect(connection.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
        let fds = [pair.master.as_raw_fd()];
        let text = [std::io::IoSlice::new(b"terminal")];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<UnixAddr>(connection.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)?;
        terminal = Some(pair.slave);
    }
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let status = live(life, terminal).map_or(125, |()| STATUS);
            std::process::exit(status);
        }
        ForkResult::Parent { child } => {
            let path = value("--pid-file").ok_or_else(|| std::io::Error::other("no pid file"))?;
            let temporary = format!("{NOTES}/pid");
            fs::write(&temporary, child.to_string())?;
            fs::rename(&temporary, path)
        }
    }
}

/// The container's life.
fn live(life: &Life, terminal: Option<OwnedFd>) -> Result<()> {
    setsid()?;
    if let Some(terminal) = terminal {
        dup2_stdin(&terminal)?;
        dup2_stdout(&terminal)?;
        dup2_stderr(&terminal)?;
        // SAFETY: the request takes an int.
        unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    }
    // SAFETY: this process uses no descriptor above the standard ones.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    fs::write(format!("{NOTES}/container"), std::process::id().to_string())?;
    drop(File::open(GO)?);
    if life.notify {
        let socket = UnixDatagram::unbound()?;
        socket.send_to(NOTIFICATION.as_bytes(), format!("{BUNDLE}/notify/notify.sock"))?;
    }
    let (out, err) = life.output();
    let mut rest = out.as_slice();
    if life.stdin {
        let mut line = Vec::new();
        BufReader::new(std::io::stdin()).read_until(b'\n', &mut line)?;
        let answer = [b"got ", line.as_slice()].concat();
        fs::write(format!("{NOTES}/stdin"), &line)?;
        write_all(1, &answer)?;
        rest = rest.get(answer.len()..).unwrap_or_default();
    }
    for _ in 0..life.alone {
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, others) = rest.split_at(length);
        write_all(1, line)?;
        rest = others;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for chunk in rest.chunks(3000) {
        write_all(1, chunk)?;
    }
    write_all(2, &err)?;
    fs::write(format!("{NOTES}/finished"), b"")
}

/// Past the standard library's buffers, so that each write is one.
fn write_all(fd: i32, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the slice is readable for its length.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(_) => return Err(std::io::Error::last_os_error()),
        }
    }
    Ok(())
}
