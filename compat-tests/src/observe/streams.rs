//! Reading what comes through pipes and sockets, without ever waiting for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Reads made in one turn.
const MOST_AT_ONCE: usize = 1024;

/// One end that is read until it ends.
#[derive(Default)]
pub struct Stream {
    fd: Option<OwnedFd>,
    /// One entry for each read; on a packet socket each is a packet.
    pub reads: Vec<Vec<u8>>,
    pub end: End,
    /// Read into; clearing a new one each turn would cost more than all else in it.
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    #[default]
    Open,
    Eof,
    Error(Errno),
    /// The suite closed its end.
    Closed,
}

impl End {
    pub fn describe(self) -> String {
        match self {
            Self::Open => "open".into(),
            Self::Eof => "eof".into(),
            Self::Error(errno) => format!("error: {}", errno.desc()),
            Self::Closed => "closed by the caller".into(),
        }
    }
}

impl Stream {
    pub fn new(fd: OwnedFd) -> nix::Result<Self> {
        set_nonblocking(fd.as_fd())?;
        Ok(Self { fd: Some(fd), ..Self::default() })
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// Takes what is there. A zero-length packet cannot be told from the end and ends it too.
    pub fn pump(&mut self) {
        self.buffer.resize(65536, 0);
        // Bounded, so that a writer which never pauses cannot keep the driver from its deadline.
        for _ in 0..MOST_AT_ONCE {
            let Some(fd) = &self.fd else { return };
            match nix::unistd::read(fd, &mut self.buffer) {
                Ok(0) => self.finish(End::Eof),
                Ok(length) => self.reads.push(self.buffer[..length].to_vec()),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // A terminal's master says so when the other side is closed.
                Err(Errno::EIO) => self.finish(End::Eof),
                Err(errno) => self.finish(End::Error(errno)),
            }
        }
    }

    fn finish(&mut self, end: End) {
        self.end = end;
        self.fd = None;
    }

    pub fn close(&mut self) {
        if self.fd.is_some() {
            self.finish(End::Closed);
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.reads.concat()
    }

    pub fn has(&self, text: &[u8]) -> bool {
        contains(&self.bytes(), text)
    }

    pub fn is_open(&self) -> bool {
        self.fd.is_some()
    }
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Whether `text` occurs in `bytes`.
pub fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}
