//! The two control fifos in the bundle, `ctl` and `winsz`: what callers ask of a running
//! monitor.
//!
//! One line is one message. A line that means nothing costs a warning and only itself.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, read, unlink};

use crate::diagnostics::{Diagnostics, Level};
use crate::failure::{Failure, concat};

/// What a line asks for.
///
/// A size asked for on `ctl` is handed over here at once, not written to `winsz` to be read
/// from there: nobody but the monitor reads that fifo, and lines of two fifos have no order
/// among them that a writer could count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Set the terminal's size.
    Resize { rows: u16, columns: u16 },
    /// Close and create the log file anew, or rotate it.
    ReopenLogs,
}

/// Which of the two fifos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ctl`: lines of TYPE HEIGHT WIDTH.
    Control,
    /// `winsz`: lines of HEIGHT WIDTH.
    WindowSize,
}

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Control => b"terminal control fifo",
            Self::WindowSize => b"window resize control fifo",
        }
    }
}

/// The most bytes of one line, without its newline.
const LINE_BYTES: usize = 199;
const SIZE_LIMIT: i64 = 1000;

/// One fifo, read by the monitor.
pub(crate) struct ControlFifo {
    kind: Kind,
    reader: OwnedFd,
    /// Never written. While we hold a writer, the reader sees no end of file each time a
    /// caller closes its end.
    _keep_open: OwnedFd,
    lines: LineBuffer,
    /// Reading failed: the fifo is not polled any more.
    broken: bool,
}

impl ControlFifo {
    /// Creates the fifo at `path` in place of whatever was there, and opens both ends.
    ///
    /// # Errors
    ///
    /// Refuses, in the reference's words.
    pub(crate) fn create(
        path: &Path,
        kind: Kind,
        diagnostics: &Diagnostics,
    ) -> Result<Self, Failure> {
        make(path)?;
        let failed = |end: &[u8]| {
            let text = concat(&[b"Failed to open ", kind.name(), end]);
            move |errno| {
                // Nobody else has a use for what nobody reads.
                let _ = unlink(path);
                Failure::with_errno(text, errno).on(path)
            }
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let reader = open(path, flags, Mode::empty()).map_err(failed(b" read half"))?;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let _keep_open = open(path, flags, Mode::empty()).map_err(failed(b" write half"))?;
        let number = reader.as_raw_fd();
        diagnostics.debug(match kind {
            Kind::Control => format!("terminal_ctrl_fd: {number}"),
            Kind::WindowSize => {
                let writer = _keep_open.as_raw_fd();
                format!("winsz read side: {number}, winsz write side: {writer}")
            }
        });
        Ok(Self { kind, reader, _keep_open, lines: LineBuffer::default(), broken: false })
    }

    /// What to poll for reading. Where there is no terminal yet, `winsz` is not to be polled:
    /// what is in it waits there.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.broken).then(|| self.reader.as_fd())
    }

    /// Reads once and hands every complete line's command to `emit`, in order. Returns whether
    /// anything was there.
    pub(crate) fn read(
        &mut self,
        diagnostics: &Diagnostics,
        mut emit: impl FnMut(Command),
    ) -> bool {
        let number = self.reader.as_raw_fd();
        match self.lines.fill(|space| read(&self.reader, space)) {
            Ok(()) => {}
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Err(errno) => {
                let text = format!("Failed to read from fd {number}");
                diagnostics.warn_errno(text, errno);
                self.broken = true;
                return false;
            }
        }
        if diagnostics.enabled(Level::Debug) {
            let text = before_nul(self.lines.buffered());
            let number = number.to_string();
            diagnostics.debug(concat(&[b"Got ctl message: ", text, b" on fd ", number.as_bytes()]));
        }
        let kind = self.kind;
        let overflowed = self.lines.drain(|line| match parse(kind, line, diagnostics) {
            Ok(command) => emit(command),
            Err(warning) => diagnostics.warn(warning),
        });
        if overflowed {
            diagnostics.warn("Could not find newline in entire buffer");
        }
        true
    }
}

/// A fifo that cannot be made because its directory is missing is reported by the opening.
fn make(path: &Path) -> Result<(), Failure> {
    let mode = Mode::from_bits_truncate(0o660);
    let made = mkfifo(path, mode).or_else(|errno| match errno {
        Errno::EEXIST => {
            // A failure shows in the second attempt.
            let _ = unlink(path);
            mkfifo(path, mode)
        }
        errno => Err(errno),
    });
    match made {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => {
            let text = concat(&[b"Failed to mkfifo at ", path.as_os_str().as_bytes()]);
            Err(Failure::with_errno(text, errno))
        }
    }
}

/// Bytes read so far of a line that is not complete.
struct LineBuffer {
    bytes: [u8; LINE_BYTES],
    length: usize,
    /// The last read filled the whole buffer.
    filled_at_once: bool,
    /// The line being read has grown too long: what comes is dropped up to its newline.
    skipping: bool,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self { bytes: [0; LINE_BYTES], length: 0, filled_at_once: false, skipping: false }
    }
}

impl LineBuffer {
    fn buffered(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds what `read` puts into the free space, which is never empty between two drains.
    /// No bytes at all count as an error: a fifo with a writer has no end.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> nix::Result<usize>) -> nix::Result<()> {
        let space = self.bytes.get_mut(self.length..).unwrap_or_default();
        match read(space)? {
            0 => Err(Errno::EPIPE),
            count => {
                self.filled_at_once = count == LINE_BYTES;
                self.length += count;
                Ok(())
            }
        }
    }

    /// Hands over the complete lines and keeps the rest; tells whether an over-long line was
    /// dropped.
    ///
    /// When one read fills the whole buffer and has no newline, only that much is dropped and
    /// the next byte begins a line, as in the reference. A line that outgrew the buffer piece
    /// by piece is dropped up to its newline.
    fn drain(&mut self, mut emit: impl FnMut(&[u8])) -> bool {
        let mut rest = self.bytes.get(..self.length).unwrap_or_default();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if !std::mem::take(&mut self.skipping) {
                emit(line);
            }
        }
        let kept = if self.skipping { 0 } else { rest.len() };
        if kept == LINE_BYTES {
            self.skipping = !self.filled_at_once;
            self.length = 0;
            return true;
        }
        let start = self.length - rest.len();
        self.bytes.copy_within(start..start + kept, 0);
        self.length = kept;
        false
    }
}

/// What one line asks for, or what to warn of.
pub(crate) fn parse(kind: Kind, line: &[u8], diagnostics: &Diagnostics) -> Result<Command, String> {
    let mut numbers = Integers { rest: before_nul(line) };
    match kind {
        Kind::Control => {
            let fields = (numbers.next(), numbers.next(), numbers.next());
            let (Some(message_type), Some(rows), Some(columns)) = fields else {
                return Err("Invalid control message format".to_owned());
            };
            diagnostics.debug(format!("Message type: {message_type}"));
            if !(1..=2).contains(&message_type) {
                return Err(format!("Invalid control message type: {message_type}"));
            }
            let resize = size(rows, columns, diagnostics)?;
            Ok(if message_type == 1 { resize } else { Command::ReopenLogs })
        }
        Kind::WindowSize => match (numbers.next(), numbers.next()) {
            (Some(rows), Some(columns)) => size(rows, columns, diagnostics),
            _ => Err("Failed to parse window size".to_owned()),
        },
    }
}

fn size(height: i64, width: i64, diagnostics: &Diagnostics) -> Result<Command, String> {
    match (within_limit(height), within_limit(width)) {
        (Some(rows), Some(columns)) => {
            diagnostics.debug(format!("Height: {height}, Width: {width}"));
            Ok(Command::Resize { rows, columns })
        }
        _ => Err(format!(
            "Invalid window size: {height}x{width} (must be between 0 and {SIZE_LIMIT})"
        )),
    }
}

fn within_limit(value: i64) -> Option<u16> {
    u16::try_from(value).ok().filter(|_| value <= SIZE_LIMIT)
}

fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Decimal integers as scanf(3) reads them with `%d`, except that one too large for us stays
/// large instead of wrapping round to a small one.
struct Integers<'a> {
    rest: &'a [u8],
}

impl Iterator for Integers<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        // What isspace(3) accepts in the C locale.
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
        let start = self.rest.iter().position(|byte| !blank(byte))?;
        let text = self.rest.get(start..)?;
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = digits.split_at_checked(length).filter(|_| length > 0)?;
        self.rest = rest;
        let magnitude = digits.iter().fold(0_i64, |value, digit| {
            value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
        });
        Some(if negative { -magnitude } else { magnitude })
    }
}
