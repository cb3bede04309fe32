//! The way to the journal: a datagram socket that never blocks and survives its restarts.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::sys::uio::writev;

use crate::diagnostics::Diagnostics;
use crate::log::entry::PIECES;
use crate::sys::datagrams::send_each;
use crate::sys::errno::describe;

/// What became of a batch of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many of the first entries are done with: taken, or dropped and counted.
    Entries(usize),
    /// The journal takes none at present.
    Blocked,
}

/// A socket that is connected when it is first needed, and again when the journal is new.
pub(crate) struct JournalSocket {
    path: PathBuf,
    socket: Option<OwnedFd>,
    /// Since the journal could last be reached.
    dropped_entries: u64,
    dropped_bytes: u64,
}

impl JournalSocket {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, socket: None, dropped_entries: 0, dropped_bytes: 0 }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }

    /// Sends the first of `entries`, as many as the journal takes.
    ///
    /// Where there is no journal at all, entries vanish without a word, as they do in the
    /// original; what fails otherwise is tried twice and then dropped and counted.
    pub(crate) fn send(&mut self, entries: &[[IoSlice<'_>; PIECES]], diag: &Diagnostics) -> Sent {
        let result = self.attempt(entries).or_else(|errno| match errno {
            // Only a socket that is connected can be waited for.
            Errno::EAGAIN if self.socket.is_some() => Err(errno),
            _ => {
                // A restarted journal has a new socket at the same path.
                self.socket = None;
                self.attempt(entries)
            }
        });
        match result {
            Ok(count) => {
                self.report_dropped(diag);
                Sent::Entries(count)
            }
            Err(Errno::EAGAIN) if self.socket.is_some() => Sent::Blocked,
            Err(Errno::ENOENT) if self.socket.is_none() => Sent::Entries(entries.len()),
            Err(errno) => {
                if self.dropped_entries == 0 {
                    // A formatted message since 2.2.0: its label in syslog is that of a plain warning.
                    diag.warn(format!("sd_journal_sendv: {}", describe(errno)));
                }
                // Without a connection all entries share the fate of the first.
                let count = if self.socket.is_some() { 1 } else { entries.len() };
                let dropped = entries.iter().take(count);
                self.count_dropped(count, dropped.map(message_bytes).sum());
                Sent::Entries(count)
            }
        }
    }

    /// Counts entries that will not be sent.
    pub(crate) fn count_dropped(&mut self, entries: usize, bytes: usize) {
        self.dropped_entries += entries as u64;
        self.dropped_bytes += bytes as u64;
    }

    /// Says what was dropped and not yet reported.
    pub(crate) fn finish(&mut self, diag: &Diagnostics) {
        self.report_dropped(diag);
    }

    fn report_dropped(&mut self, diag: &Diagnostics) {
        if self.dropped_entries > 0 {
            diag.warn(format!(
                "write_journald failed: {} entries ({} bytes) were dropped",
                self.dropped_entries, self.dropped_bytes
            ));
            (self.dropped_entries, self.dropped_bytes) = (0, 0);
        }
    }

    fn attempt(&mut self, entries: &[[IoSlice<'_>; PIECES]]) -> nix::Result<usize> {
        if self.socket.is_none() {
            self.socket = Some(connected(&self.path)?);
        }
        let Some(socket) = self.fd() else { return Ok(0) };
        loop {
            match send_each(socket, entries) {
                Err(Errno::EINTR) => {}
                Err(Errno::EMSGSIZE) => {
                    let Some(first) = entries.first() else { return Ok(0) };
                    return send_sealed(socket, first).map(|()| 1);
                }
                result => return result,
            }
        }
    }
}

fn connected(path: &std::path::Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Hands an entry that is too long for a datagram over as a file that nobody can change.
fn send_sealed(socket: BorrowedFd<'_>, entry: &[IoSlice<'_>; PIECES]) -> nix::Result<()> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create("journal-entry", flags)?;
    let mut entry = *entry;
    let mut rest = entry.as_mut_slice();
    while !rest.is_empty() {
        match writev(&file, rest) {
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let fds = [file.as_raw_fd()];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[], &rights, flags, None).map(drop)
}

/// How much of an entry is the container's.
fn message_bytes(entry: &[IoSlice<'_>; PIECES]) -> usize {
    let [_, pending, text, _] = entry;
    pending.len() + text.len()
}
