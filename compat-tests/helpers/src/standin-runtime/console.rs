//! The console socket: handing a terminal over, rightly or wrongly.

use crate::script::Handover;
use crate::sys;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What must stay open until the container runs, or until the runtime ends.
#[derive(Default)]
pub struct Console {
    /// The container's end of the terminal.
    pub terminal: Option<OwnedFd>,
    connection: Option<UnixStream>,
}

/// Connects to the console socket at `path` and sends what `handover` says.
pub fn hand_over(path: &Path, handover: Handover) -> io::Result<Console> {
    let connection = UnixStream::connect(path)?;
    let mut terminal = None;
    match handover {
        Handover::Terminal => {
            let OpenptyResult { master, slave } = openpty(None, None)?;
            send(&connection, &[master.as_raw_fd()])?;
            terminal = Some(slave);
        }
        Handover::TwoFds => {
            let (first, second) = (openpty(None, None)?, openpty(None, None)?);
            send(&connection, &[first.master.as_raw_fd(), second.master.as_raw_fd()])?;
            terminal = Some(first.slave);
        }
        Handover::NullFd => send(&connection, &[File::open("/dev/null")?.as_raw_fd()])?,
        Handover::NoFd => send(&connection, &[])?,
        Handover::Close => return Ok(Console::default()),
        Handover::Nothing => {}
    }
    Ok(Console { terminal, connection: Some(connection) })
}

impl Console {
    /// Waits until the other side has read all that was sent, or has gone.
    pub fn await_taken(&self) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        while sys::unread(connection)? > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Closes everything that the container must not have.
    pub fn close_connection(&mut self) {
        self.connection = None;
    }
}

fn send(connection: &UnixStream, fds: &[RawFd]) -> io::Result<()> {
    let name = [IoSlice::new(b"/dev/ptmx")];
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[] } else { rights.as_slice() };
    sendmsg::<()>(connection.as_raw_fd(), &name, control, MsgFlags::empty(), None)?;
    Ok(())
}
