//! The ends from which the container's output is read.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;

use crate::stream::{CHUNK_BYTES, Stream};
use crate::sys::newlines::first_newline;
use crate::sys::pages::Pages;
use crate::sys::socket::waiting_bytes;

/// The most bytes taken from a stream in one read: what a pipe holds.
const READ_BYTES: usize = 8 * CHUNK_BYTES;

/// How much is asked for at first. Lines that come alone are no longer, and need no more memory.
pub(crate) const SHORT_READ_BYTES: usize = 1024;

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
    /// So many bytes in the short space.
    Short(usize),
    /// So many bytes in the buffer.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing any more.
    End,
    /// Nothing for now, for this reason; the stream is tried again after a rest. `first` of a
    /// row of failures.
    Failed { errno: Errno, first: bool },
}

impl Read {
    /// What was read, if anything was.
    pub(crate) fn bytes<'a>(&self, short: &'a [u8], buffer: &'a ReadBuffer) -> Option<&'a [u8]> {
        match self {
            Self::Short(length) => short.get(..*length),
            Self::Bytes(length) => Some(buffer.filled(*length)),
            _ => None,
        }
    }
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

    /// Takes what is there, at most a buffer full: into `short` what has room in it, else, and
    /// as long as the buffer is in memory anyway, into `buffer`.
    pub(crate) fn read(
        &mut self,
        short: &mut [u8; SHORT_READ_BYTES],
        buffer: &mut ReadBuffer,
        now: Duration,
    ) -> Read {
        match (self.try_to_read(short, buffer), &self.source) {
            (Ok(Read::Bytes(0)) | Err(Errno::EIO), Source::Terminal) => {
                self.rest(now);
                Read::End
            }
            (Ok(Read::Bytes(0)), Source::Pipe) => Read::End,
            (Ok(bytes), _) => {
                (self.rest, self.failing) = (None, false);
                bytes
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
    fn try_to_read(
        &self,
        short: &mut [u8; SHORT_READ_BYTES],
        buffer: &mut ReadBuffer,
    ) -> nix::Result<Read> {
        let mut result = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            result = match buffer.in_use() {
                Some(space) => read(&self.fd, space).map(Read::Bytes),
                None => self.read_short(short, buffer),
            };
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

    /// Reads into `short`. Where that leaves something, the buffer gets it all, as if it had been
    /// read at once: what belongs together is not to be logged in two chunks.
    fn read_short(
        &self,
        short: &mut [u8; SHORT_READ_BYTES],
        buffer: &mut ReadBuffer,
    ) -> nix::Result<Read> {
        let length = read(&self.fd, short)?;
        if length < SHORT_READ_BYTES {
            return Ok(if length > 0 { Read::Short(length) } else { Read::Bytes(0) });
        }
        let most = match self.source {
            Source::Terminal => TERMINAL_BYTES,
            Source::Pipe => READ_BYTES,
        };
        let Ok(space) = buffer.space() else { return Ok(Read::Short(length)) };
        let Some((start, rest)) = space.split_at_mut_checked(length) else {
            return Ok(Read::Short(length));
        };
        start.copy_from_slice(short);
        let rest = rest.get_mut(..most - length).unwrap_or_default();
        // An end or an error shows again in the next read.
        Ok(Read::Bytes(length + read(&self.fd, rest).unwrap_or_default()))
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
    in_use: bool,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { pages: None, in_use: false }
    }

    /// The whole buffer, if it has been used since it was last released.
    fn in_use(&mut self) -> Option<&mut [u8]> {
        self.pages.as_deref_mut().filter(|_| self.in_use)
    }

    fn space(&mut self) -> nix::Result<&mut [u8]> {
        let length = const { NonZeroUsize::new(READ_BYTES).unwrap() };
        let pages = match self.pages.take() {
            Some(pages) => pages,
            None => Pages::new(length)?,
        };
        self.in_use = true;
        Ok(self.pages.insert(pages))
    }

    /// The first `length` bytes of what was read last.
    pub(crate) fn filled(&self, length: usize) -> &[u8] {
        self.pages.as_deref().and_then(|pages| pages.get(..length)).unwrap_or_default()
    }

    /// Gives the memory back.
    pub(crate) fn release(&mut self) {
        if let Some(pages) = self.pages.as_mut().filter(|_| self.in_use) {
            pages.release();
        }
        self.in_use = false;
    }
}

/// Whether it is plain that `bytes` are what one write wrote: a line, or a single byte.
pub(crate) fn is_one_write(bytes: &[u8]) -> bool {
    bytes.len() == 1 || first_newline(bytes).is_some_and(|at| at + 1 == bytes.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rstest::rstest;

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_pipe_gives_bytes_then_nothing_then_its_end() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut output = Output::pipe(reader, Stream::Stderr).unwrap();
        let (mut short, mut buffer) = ([0; SHORT_READ_BYTES], ReadBuffer::new());
        let mut writer = std::fs::File::from(writer);

        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::Nothing);
        writer.write_all(b"hello").unwrap();
        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::Short(5));
        assert_eq!(&short[..5], b"hello");
        drop(writer);
        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::End);
        assert!(output.ends_for_good());
    }

    #[rstest]
    #[case::just_too_much(SHORT_READ_BYTES)]
    #[case::a_little_more(SHORT_READ_BYTES + 1)]
    #[case::a_chunk_and_more(CHUNK_BYTES + 7)]
    #[case::all_that_a_pipe_holds(READ_BYTES)]
    fn what_is_too_much_for_the_short_space_comes_whole_in_the_buffer(#[case] length: usize) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut output = Output::pipe(reader, Stream::Stdout).unwrap();
        let (mut short, mut buffer) = ([0; SHORT_READ_BYTES], ReadBuffer::new());
        let mut writer = std::fs::File::from(writer);
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();

        writer.write_all(&bytes).unwrap();
        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::Bytes(length));
        assert_eq!(buffer.filled(length), bytes);
        // The buffer is there now, and used until it is given back.
        writer.write_all(b"x").unwrap();
        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::Bytes(1));
        buffer.release();
        writer.write_all(b"y").unwrap();
        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::Short(1));
        assert_eq!(short[0], b'y');
    }

    #[test]
    fn a_terminal_never_gives_more_at_once_than_one_read_of_it() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut raw = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
        nix::sys::termios::cfmakeraw(&mut raw);
        nix::sys::termios::tcsetattr(&pty.slave, nix::sys::termios::SetArg::TCSANOW, &raw).unwrap();
        let mut output = Output::terminal(pty.master).unwrap();
        let (mut short, mut buffer) = ([0; SHORT_READ_BYTES], ReadBuffer::new());
        let mut slave = std::fs::File::from(pty.slave);
        let writer = std::thread::spawn(move || {
            slave.write_all(&[b'x'; 40_000]).unwrap();
            slave
        });
        let mut total = 0;
        while total < 40_000 {
            match output.read(&mut short, &mut buffer, NOW) {
                Read::Short(length) => total += length,
                Read::Bytes(length) => {
                    assert!(length <= TERMINAL_BYTES, "{length}");
                    total += length;
                    buffer.release();
                }
                other => assert_eq!(other, Read::Nothing),
            }
        }
        drop(writer.join().unwrap());
    }

    #[test]
    fn a_terminal_nobody_has_open_is_left_alone_for_a_while() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut output = Output::terminal(pty.master).unwrap();
        let (mut short, mut buffer) = ([0; SHORT_READ_BYTES], ReadBuffer::new());
        drop(pty.slave);

        assert_eq!(output.read(&mut short, &mut buffer, NOW), Read::End);
        assert!(output.fd(NOW).is_none());
        assert!(output.fd(NOW + RETRY.0).is_some());
        // The pauses grow, but only so far.
        for _ in 0..10 {
            output.read(&mut short, &mut buffer, NOW);
        }
        assert!(output.fd(NOW + RETRY.1).is_some());
    }

    #[test]
    fn a_stream_that_cannot_be_read_rests_and_says_so_once() {
        // A directory can be opened and polled, but not read.
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let mut output = Output::pipe(opened.into(), Stream::Stdout).unwrap();
        let (mut short, mut buffer) = ([0; SHORT_READ_BYTES], ReadBuffer::new());

        let failed = |first| Read::Failed { errno: Errno::EISDIR, first };
        assert_eq!(output.read(&mut short, &mut buffer, NOW), failed(true));
        assert!(output.fd(NOW).is_none());
        assert!(output.fd(NOW + RETRY.0).is_some());
        assert_eq!(output.read(&mut short, &mut buffer, NOW), failed(false));
    }

    #[rstest]
    #[case::a_line(b"line\n", true)]
    #[case::an_empty_line(b"\n", true)]
    #[case::a_key(b"x", true)]
    #[case::two_lines(b"a\nb\n", false)]
    #[case::a_line_and_more(b"a\nb", false)]
    #[case::perhaps_two_keys(b"xy", false)]
    #[case::nothing(b"", false)]
    fn one_write_is_a_line_or_a_byte(#[case] bytes: &[u8], #[case] expected: bool) {
        assert_eq!(is_one_write(bytes), expected);
    }
}
