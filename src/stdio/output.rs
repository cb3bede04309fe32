//! The ends from which the container's output is read.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;

use crate::stream::{CHUNK_BYTES, Stream};
use crate::sys::pages::Pages;
use crate::sys::socket::waiting_bytes;

/// The most bytes taken from a stream in one read: what a pipe holds.
const READ_BYTES: usize = 8 * CHUNK_BYTES;

/// The most bytes that one read of a terminal brings; see n_tty(4), `N_TTY_BUF_SIZE`.
const TERMINAL_BYTES: usize = 4095;

/// More than a terminal holds: what is on its way to the outer side, and what has arrived there.
const TERMINAL_HOLDS_BYTES: usize = 64 * 1024;

/// What a stream that rests is asked again after, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));

/// How often a read that fails is made at once.
const TRIES: usize = 3;

/// One stream of the container's output.
pub(crate) struct Output {
    fd: OwnedFd,
    stream: Stream,
    source: Source,
    rest: Option<Rest>,
    /// The last read failed.
    failing: bool,
}

enum Source {
    Pipe,
    Terminal,
}

/// A stream that is left alone for a while: a terminal that nobody has open, which may change,
/// or one whose reading fails.
struct Rest {
    again: Duration,
    pause: Duration,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing any more.
    End,
    /// Nothing for now, for this reason; the stream is tried again after a rest. `first` of a
    /// row of failures.
    Failed {
        errno: Errno,
        first: bool,
    },
}

impl Output {
    /// Reads from the monitor's end of a pipe; makes it non-blocking.
    pub(crate) fn pipe(fd: OwnedFd, stream: Stream) -> nix::Result<Self> {
        Self::new(fd, stream, Source::Pipe)
    }

    /// Reads from a terminal's outer side; makes it non-blocking.
    pub(crate) fn terminal(fd: OwnedFd) -> nix::Result<Self> {
        Self::new(fd, Stream::Stdout, Source::Terminal)
    }

    fn new(fd: OwnedFd, stream: Stream, source: Source) -> nix::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { fd, stream, source, rest: None, failing: false })
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// What to wait for input on; `None` while the stream rests.
    pub(crate) fn fd(&self, now: Duration) -> Option<BorrowedFd<'_>> {
        self.deadline().is_none_or(|again| again <= now).then(|| self.fd.as_fd())
    }

    /// When a stream that rests is to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.rest.as_ref().map(|rest| rest.again)
    }

    /// How much the stream holds now. What a terminal holds it does not tell; then the most that
    /// it can.
    pub(crate) fn held_bytes(&self) -> usize {
        match self.source {
            Source::Pipe => waiting_bytes(self.fd.as_fd()).unwrap_or_default(),
            Source::Terminal => TERMINAL_HOLDS_BYTES,
        }
    }

    /// Takes what is there, at most a buffer full.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuffer, now: Duration) -> Read {
        match (self.try_to_read(buffer), &self.source) {
            (Ok(0) | Err(Errno::EIO), Source::Terminal) => {
                self.rest(now);
                Read::End
            }
            (Ok(0), Source::Pipe) => Read::End,
            (Ok(length), _) => {
                (self.rest, self.failing) = (None, false);
                Read::Bytes(length)
            }
            (Err(Errno::EAGAIN | Errno::EINTR), _) => Read::Nothing,
            (Err(errno), _) => {
                self.rest(now);
                let first = !std::mem::replace(&mut self.failing, true);
                Read::Failed { errno, first }
            }
        }
    }

    /// Reads, a few times if need be: most of what fails does so once.
    fn try_to_read(&self, buffer: &mut ReadBuffer) -> nix::Result<usize> {
        let mut result = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            result = buffer.space().and_then(|space| read(&self.fd, space));
            if matches!(result, Ok(_) | Err(Errno::EAGAIN)) {
                break;
            }
        }
        result
    }

    fn rest(&mut self, now: Duration) {
        let pause = self.rest.as_ref().map_or(RETRY.0, |rest| rest.pause);
        self.rest = Some(Rest { again: now + pause, pause: (pause * 2).min(RETRY.1) });
    }

    /// Whether a read that brought `length` bytes probably left some: it was all that a pipe
    /// holds, or all that a terminal gives at once.
    pub(crate) fn fills(length: usize) -> bool {
        length == TERMINAL_BYTES || length == READ_BYTES
    }

    /// Whether the stream can never bring anything again once a read has said `End`.
    pub(crate) fn ends_for_good(&self) -> bool {
        matches!(self.source, Source::Pipe)
    }
}

/// Where output is read to; shared by the streams, in memory only while it is used.
pub(crate) struct ReadBuffer {
    pages: Option<Pages>,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { pages: None }
    }

    fn space(&mut self) -> nix::Result<&mut [u8]> {
        let length = const { NonZeroUsize::new(READ_BYTES).unwrap() };
        let pages = match self.pages.take() {
            Some(pages) => pages,
            None => Pages::new(length)?,
        };
        Ok(self.pages.insert(pages))
    }

    /// The first `length` bytes of what was read last.
    pub(crate) fn filled(&self, length: usize) -> &[u8] {
        self.pages.as_deref().and_then(|pages| pages.get(..length)).unwrap_or_default()
    }

    /// Gives the memory back.
    pub(crate) fn release(&mut self) {
        if let Some(pages) = &mut self.pages {
            pages.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_pipe_gives_bytes_then_nothing_then_its_end() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut output = Output::pipe(reader, Stream::Stderr).unwrap();
        let mut buffer = ReadBuffer::new();
        let mut writer = std::fs::File::from(writer);

        assert_eq!(output.read(&mut buffer, NOW), Read::Nothing);
        writer.write_all(b"hello").unwrap();
        assert_eq!(output.read(&mut buffer, NOW), Read::Bytes(5));
        assert_eq!(buffer.filled(5), b"hello");
        drop(writer);
        assert_eq!(output.read(&mut buffer, NOW), Read::End);
        assert!(output.ends_for_good());
    }

    #[test]
    fn a_terminal_nobody_has_open_is_left_alone_for_a_while() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut output = Output::terminal(pty.master).unwrap();
        let mut buffer = ReadBuffer::new();
        drop(pty.slave);

        assert_eq!(output.read(&mut buffer, NOW), Read::End);
        assert!(output.fd(NOW).is_none());
        assert!(output.fd(NOW + RETRY.0).is_some());
        // The pauses grow, but only so far.
        for _ in 0..10 {
            output.read(&mut buffer, NOW);
        }
        assert!(output.fd(NOW + RETRY.1).is_some());
    }

    #[test]
    fn a_stream_that_cannot_be_read_rests_and_says_so_once() {
        // A directory can be opened and polled, but not read.
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let mut output = Output::pipe(opened.into(), Stream::Stdout).unwrap();
        let mut buffer = ReadBuffer::new();

        let failed = |first| Read::Failed { errno: Errno::EISDIR, first };
        assert_eq!(output.read(&mut buffer, NOW), failed(true));
        assert!(output.fd(NOW).is_none());
        assert!(output.fd(NOW + RETRY.0).is_some());
        assert_eq!(output.read(&mut buffer, NOW), failed(false));
    }
}
