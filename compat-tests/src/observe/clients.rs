//! Attach clients: what one receives, packet by packet, and how it ends.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, send, shutdown,
    socket,
};
use nix::sys::stat::Mode;

use super::streams::contains;
use crate::observation::ClientSeen;
use crate::sys;
use crate::text::escape;

/// The largest data part of a packet from the monitor.
const LARGEST: usize = 8192;

/// Packets taken in one turn.
const MOST_AT_ONCE: usize = 1024;

pub struct Client {
    pub monitor: String,
    fd: Option<OwnedFd>,
    connected: Result<(), Errno>,
    paused: bool,
    packets: Vec<Vec<u8>>,
    /// The packets of type 2 and of type 3, joined.
    joined: [Vec<u8>; 2],
    end: Option<&'static str>,
    pub send_problems: Vec<String>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to `attach` in a directory, whose path may be longer than a socket's name.
    pub fn connect(monitor: &str, directory: &Path) -> Self {
        let connected = connect_in(directory);
        let (fd, connected) = match connected {
            Ok(fd) => (Some(fd), Ok(())),
            Err(errno) => (None, Err(errno)),
        };
        Self {
            monitor: monitor.to_string(),
            fd,
            connected,
            paused: false,
            packets: Vec::new(),
            joined: Default::default(),
            end: None,
            send_problems: Vec::new(),
            buffer: vec![0; 65536],
        }
    }

    /// The descriptor to wait on, unless the client does not read.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        if self.paused { None } else { self.fd.as_ref().map(OwnedFd::as_fd) }
    }

    pub fn pump(&mut self) {
        if self.paused {
            return;
        }
        // Bounded, so that a monitor which never pauses cannot keep the driver from its deadline.
        for _ in 0..MOST_AT_ONCE {
            let Some(fd) = &self.fd else { return };
            match sys::receive(fd.as_fd(), &mut self.buffer) {
                Ok(received) if received.length == 0 => self.finish("eof"),
                Ok(received) => self.take(received.length.min(self.buffer.len())),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => self.finish("reset"),
                Err(_) => self.finish("error"),
            }
        }
    }

    /// Takes the packet of this length in the buffer.
    fn take(&mut self, length: usize) {
        let packet = &self.buffer[..length];
        if let Some((kind @ (2 | 3), data)) = packet.split_first() {
            self.joined[usize::from(kind - 2)].extend_from_slice(data);
        }
        self.packets.push(packet.to_vec());
    }

    fn finish(&mut self, end: &'static str) {
        self.end = Some(end);
        self.fd = None;
    }

    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Sends one packet.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while the monitor takes no more.
    pub fn send(&self, bytes: &[u8]) -> nix::Result<()> {
        let fd = self.fd.as_ref().ok_or(Errno::ENOTCONN)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(fd.as_raw_fd(), bytes, flags).map(drop)
    }

    pub fn half_close(&self) -> nix::Result<()> {
        let fd = self.fd.as_ref().ok_or(Errno::ENOTCONN)?;
        shutdown(fd.as_raw_fd(), Shutdown::Write)
    }

    pub fn hang_up(&mut self) {
        if self.fd.is_some() {
            self.finish("hung up");
        }
    }

    /// How much has arrived.
    pub fn volume(&self) -> usize {
        self.packets.len() + usize::from(self.has_ended())
    }

    pub fn has_ended(&self) -> bool {
        self.fd.is_none()
    }

    /// Whether this text has come, on one stream or the other.
    pub fn has(&self, text: &[u8]) -> bool {
        self.joined.iter().any(|stream| contains(stream, text))
    }

    pub fn seen(&self) -> ClientSeen {
        let odd = |packet: &&Vec<u8>| {
            let known = packet.first().is_some_and(|kind| matches!(kind, 2 | 3));
            !known || packet.len() > LARGEST + 1 || packet.len() < 2
        };
        let describe = |packet: &Vec<u8>| {
            let shown = &packet[..packet.len().min(60)];
            format!("{} bytes: {}", packet.len(), escape(shown))
        };
        ClientSeen {
            monitor: self.monitor.clone(),
            connected: match self.connected {
                Ok(()) => "yes".into(),
                Err(errno) => errno.desc().into(),
            },
            stdout: escape(&self.joined[0]),
            stderr: escape(&self.joined[1]),
            odd_packets: self.packets.iter().filter(odd).map(describe).collect(),
            end: self.end.unwrap_or(if self.connected.is_ok() { "open" } else { "" }).into(),
            send_problems: self.send_problems.clone(),
            packets: self.packets.iter().map(describe).collect(),
        }
    }
}

fn connect_in(directory: &Path) -> nix::Result<OwnedFd> {
    let directory = open(directory, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/attach", directory.as_raw_fd());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    Ok(fd)
}
