//! An attach session, and what is sent through the control FIFO: window sizes and the request for a new log.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, send, shutdown,
    socket,
};

use super::container::{Container, contains};
use super::node::Node;
use super::watch::Watch;
use super::world;
use crate::clock::until;
use crate::sys;
use crate::text::escape;

/// The most CRI-O reads from a client at once, and so the longest packet.
const LONGEST: usize = 32 << 10;

/// One client.
pub struct Attached {
    control: File,
    socket: Option<OwnedFd>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Packets that are none by the protocol.
    pub odd: Vec<String>,
    pub end: &'static str,
    limit: Duration,
}

impl Attached {
    /// Opens the control FIFO and connects by the name in the socket directory.
    ///
    /// # Errors
    ///
    /// One of them is not there, or has no reader.
    pub fn open(node: &Node, container: &Container) -> Result<Self> {
        let control = open_control(container)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        let path = format!("{}/{}/attach", world::SOCKETS, container.id);
        let before = sockets(container.monitor);
        connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)
            .with_context(|| format!("cannot connect to {path}"))?;
        // Nobody is told that it was accepted. The reference accepts one client at a time and may read output between two.
        node.until(|| !sockets(container.monitor).is_subset(&before));
        Ok(Self {
            control,
            socket: Some(socket),
            stdout: Vec::new(),
            stderr: Vec::new(),
            odd: Vec::new(),
            end: "open",
            limit: node.limit,
        })
    }

    /// Tells the size of the client's window.
    ///
    /// # Errors
    ///
    /// The FIFO cannot be written to.
    pub fn resize(&mut self, height: u16, width: u16) -> Result<()> {
        Ok(self.control.write_all(format!("1 {height} {width}\n").as_bytes())?)
    }

    /// Waits until the monitor has read what was written to the control FIFO.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn wait_control(&self) -> Result<()> {
        let unread = || rustix::io::ioctl_fionread(&self.control).unwrap_or(u64::MAX);
        if until(self.limit, || unread() == 0) { Ok(()) } else { bail!("the FIFO is not read") }
    }

    /// Takes what has come.
    fn pump(&mut self) {
        let mut buffer = vec![0; 16 << 10];
        while let Some(socket) = &self.socket {
            match sys::receive(socket.as_fd(), &mut buffer) {
                Ok(received) if received.length == 0 => self.close("eof"),
                Ok(received) => {
                    let packet = &buffer[..received.length.min(buffer.len())];
                    match packet.split_first() {
                        Some((2, bytes)) if received.length <= 8193 => {
                            self.stdout.extend_from_slice(bytes);
                        }
                        Some((3, bytes)) if received.length <= 8193 => {
                            self.stderr.extend_from_slice(bytes);
                        }
                        _ => self.odd.push(format!("{} bytes", received.length)),
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => self.close("reset"),
                Err(_) => self.close("error"),
            }
        }
    }

    fn close(&mut self, how: &'static str) {
        self.end = how;
        self.socket = None;
    }

    /// Sends what the client types, in packets as long as can be.
    ///
    /// # Errors
    ///
    /// The monitor takes nothing more.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for packet in bytes.chunks(LONGEST) {
            let mut result = Ok(0);
            let limit = self.limit;
            until(limit, || {
                self.pump();
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                result = match &self.socket {
                    Some(socket) => send(socket.as_raw_fd(), packet, flags),
                    None => Err(Errno::EPIPE),
                };
                result != Err(Errno::EAGAIN)
            });
            result.context("the monitor takes no input")?;
        }
        Ok(())
    }

    /// The client's input has ended.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn end_input(&mut self) -> Result<()> {
        let socket = self.socket.as_ref().context("the connection is gone")?;
        Ok(shutdown(socket.as_raw_fd(), Shutdown::Write)?)
    }

    /// The client leaves.
    pub fn leave(mut self) {
        self.pump();
        self.close("left");
    }

    /// Waits until `text` has come on standard output.
    ///
    /// # Errors
    ///
    /// It does not come in time.
    pub fn wait_output(&mut self, text: &str) -> Result<()> {
        let came = until(self.limit, || {
            self.pump();
            contains(&self.stdout, text.as_bytes())
        });
        if came { Ok(()) } else { bail!("`{text}` does not come; {}", escape(&self.stdout)) }
    }

    /// Waits for the end of the session; says how it ended.
    pub fn wait_end(&mut self) -> &'static str {
        let limit = self.limit;
        until(limit, || {
            self.pump();
            self.socket.is_none()
        });
        self.end
    }
}

/// The sockets a process has, each by its inode.
fn sockets(pid: i32) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).collect()
}

/// Opens the control FIFO for writing. CRI-O would hang where nobody reads it; that is an error here.
fn open_control(container: &Container) -> Result<File> {
    let path = container.bundle.join("ctl");
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let opened = options.open(&path);
    if opened.as_ref().is_err_and(|error| error.kind() != ErrorKind::NotFound) {
        return opened.context("nobody reads the control FIFO");
    }
    opened.with_context(|| format!("cannot open {}", path.display()))
}

impl Node {
    /// Rotates a log: kubelet renames it, CRI-O asks for a new one and waits until it sees it.
    ///
    /// # Errors
    ///
    /// The FIFO has no reader.
    pub fn rotate(&mut self, container: &Container, to: &str) -> Result<()> {
        std::fs::rename(&container.log, container.log.with_file_name(to))?;
        let came = self.reopen(container)?;
        self.facts.holds(format!("{}: a new log is seen ({to})", container.name), came);
        Ok(())
    }

    /// Asks for a new log; true if CRI-O sees it.
    ///
    /// # Errors
    ///
    /// The FIFO has no reader.
    pub fn reopen(&mut self, container: &Container) -> Result<bool> {
        let directory = container.log.parent().context("no directory")?;
        let name = container.log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut watch = Watch::new(directory)?;
        open_control(container)?.write_all(b"2 0 0\n")?;
        Ok(self.until(|| watch.next(&name).is_some()))
    }
}
