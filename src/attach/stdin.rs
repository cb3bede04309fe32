//! Where attach clients' input goes: the container's standard input.
//!
//! What the container does not take at once is kept, one packet a client, and nothing more is
//! asked of that client until it is passed on or the client is gone. Nothing here ever blocks, and a container that
//! closed its input costs what was meant for it and no more.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::unistd::write;

use crate::diagnostics::Diagnostics;
use crate::failure::Text;

/// Names one attach client for as long as the monitor lives; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientId(pub(crate) u64);

/// What the last client's leaving means for the container's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtLastLeave {
    /// `--stdin`: the container reads end of file once everything sent has been read.
    Close,
    /// `--stdin --leave-stdin-open`: kept, and said to be.
    KeepAndSay,
    /// Not asked for by `--stdin`: kept.
    Keep,
}

/// While this much waits for the container, no client is read, whoever sent it: clients that
/// come, send one packet and go must not add up.
const PENDING_LIMIT_BYTES: u64 = 256 * 1024;

/// The container's standard input, as far as attach clients reach it.
pub(crate) struct ContainerStdin {
    sink: Sink,
    at_last_leave: AtLastLeave,
    /// The last client left while input was pending: close when that is written.
    closing: bool,
    /// What the container has not taken yet.
    pending: VecDeque<Vec<u8>>,
    /// How much of the first it has.
    written: usize,
    /// All bytes that came, and those of them that are pending no more.
    pushed: u64,
    passed: u64,
    /// The last write failed and was warned of.
    failing: bool,
}

enum Sink {
    /// There is no input, or no more: what clients send is read and dropped.
    Nowhere,
    /// A terminal was asked for but the runtime has not sent it yet.
    AwaitingConsole,
    Pipe(OwnedFd),
    /// The terminal's outer end; it stays open whoever leaves, for its end of file would hang
    /// up the terminal's output as well.
    Console(Rc<OwnedFd>),
}

/// The end of a packet in all that was pushed: who asks whether the packet is pending still
/// need not look for it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mark(u64);

/// Small packets are put together up to this size: many that wait cost no more than few.
const CHUNK_BYTES: usize = 4096;

impl ContainerStdin {
    /// Neither `--stdin` nor `--terminal`: the container's input is /dev/null.
    pub(crate) fn none() -> Self {
        Self::new(Sink::Nowhere, AtLastLeave::Keep)
    }

    /// The write end of a pipe, which becomes non-blocking.
    pub(crate) fn pipe(write_end: OwnedFd, at_last_leave: AtLastLeave) -> Self {
        set_nonblocking(write_end.as_fd());
        Self::new(Sink::Pipe(write_end), at_last_leave)
    }

    /// A terminal that [`set_console`](Self::set_console) will bring; input is kept till then.
    ///
    /// `Close` counts as `KeepAndSay`: a terminal stays usable for later clients.
    pub(crate) fn awaiting_console(at_last_leave: AtLastLeave) -> Self {
        let at_last_leave = match at_last_leave {
            AtLastLeave::Close => AtLastLeave::KeepAndSay,
            kept => kept,
        };
        Self::new(Sink::AwaitingConsole, at_last_leave)
    }

    fn new(sink: Sink, at_last_leave: AtLastLeave) -> Self {
        Self {
            sink,
            at_last_leave,
            closing: false,
            pending: VecDeque::new(),
            written: 0,
            pushed: 0,
            passed: 0,
            failing: false,
        }
    }

    /// The terminal has arrived: it becomes non-blocking and gets what clients sent so far.
    pub(crate) fn set_console(&mut self, console: Rc<OwnedFd>, diagnostics: &Diagnostics) {
        set_nonblocking(console.as_fd());
        self.sink = Sink::Console(console);
        self.write_pending(diagnostics);
    }

    /// What to poll; nothing unless input is pending, so a reader that has gone wakes nobody.
    pub(crate) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.pending.is_empty() {
            return None;
        }
        let fd = self.sink.writable()?;
        Some((fd, PollFlags::POLLOUT))
    }

    /// Whether a packet would be taken now from a client whose last one ended at `mark`; while
    /// not, the client is not read. One that has hung up is not made to wait for its last
    /// packet: as soon as it has been read it costs no descriptor any more.
    pub(super) fn takes_after(&self, mark: Mark, hung_up: bool) -> bool {
        self.drops_input()
            || (self.pushed - self.passed < PENDING_LIMIT_BYTES
                && (hung_up || self.passed >= mark.0))
    }

    /// Passes on one packet, or keeps what does not fit for [`on_ready`](Self::on_ready).
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no room to keep it, and it is lost.
    pub(super) fn push(&mut self, packet: Vec<u8>, diagnostics: &Diagnostics) -> nix::Result<Mark> {
        if self.drops_input() || packet.is_empty() {
            return Ok(Mark(self.passed));
        }
        let first = self.pending.is_empty();
        let bytes = packet.len() as u64;
        self.keep(packet)?;
        self.pushed += bytes;
        if first {
            self.write_pending(diagnostics);
        }
        Ok(Mark(self.pushed))
    }

    fn keep(&mut self, packet: Vec<u8>) -> nix::Result<()> {
        if let Some(last) = self.pending.back_mut() {
            let fits = last.len() + packet.len() <= CHUNK_BYTES;
            if fits && last.try_reserve(packet.len()).is_ok() {
                last.extend_from_slice(&packet);
                return Ok(());
            }
        }
        self.pending.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.pending.push_back(packet);
        Ok(())
    }

    /// Handles what poll reported: pending input is written until the container takes no more.
    ///
    /// A terminal that nobody holds open hangs up for as long as that lasts; what it does not
    /// take then is dropped, for there is no telling when it will.
    pub(crate) fn on_ready(&mut self, events: PollFlags, diagnostics: &Diagnostics) {
        self.write_pending(diagnostics);
        if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL)
            && !self.pending.is_empty()
        {
            self.fail(Errno::EIO, diagnostics);
        }
    }

    fn write_pending(&mut self, diagnostics: &Diagnostics) {
        while let (Some(fd), Some(next)) = (self.sink.writable(), self.pending.front()) {
            match write(fd, next.get(self.written..).unwrap_or_default()) {
                Ok(0) | Err(Errno::EAGAIN) => return,
                Ok(count) => {
                    self.failing = false;
                    self.written += count;
                    self.passed += count as u64;
                    if self.written >= next.len() {
                        self.pending.pop_front();
                        self.written = 0;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return self.fail(errno, diagnostics),
            }
        }
        if self.pending.is_empty() && self.sink.writable().is_some() {
            self.pending = VecDeque::new();
            if self.closing {
                self.sink = Sink::Nowhere;
            }
        }
    }

    /// A client ended its sending; `remaining` others may still send.
    pub(crate) fn client_left(&mut self, remaining: usize, diagnostics: &Diagnostics) {
        match self.at_last_leave {
            AtLastLeave::Close if remaining == 0 => {
                self.closing = true;
                if self.pending.is_empty() {
                    self.sink = Sink::Nowhere;
                }
            }
            AtLastLeave::KeepAndSay => diagnostics.info("Not closing input"),
            AtLastLeave::Close | AtLastLeave::Keep => {}
        }
    }

    fn drops_input(&self) -> bool {
        self.closing || matches!(self.sink, Sink::Nowhere)
    }

    /// Drops what was pending. A pipe's reader cannot come back, so the pipe is closed; a
    /// terminal may be opened again inside the container, so it is kept.
    fn fail(&mut self, errno: Errno, diagnostics: &Diagnostics) {
        if !self.failing {
            diagnostics.warn_errno(Text::made("Failed to write to fd container stdin"), errno);
        }
        self.failing = true;
        self.pending = VecDeque::new();
        self.written = 0;
        self.passed = self.pushed;
        if matches!(self.sink, Sink::Pipe(_)) {
            self.sink = Sink::Nowhere;
        }
    }
}

impl Sink {
    fn writable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Nowhere | Self::AwaitingConsole => None,
            Self::Pipe(write_end) => Some(write_end.as_fd()),
            Self::Console(console) => Some(console.as_fd()),
        }
    }
}

/// Cannot fail on a descriptor that is owned and open.
fn set_nonblocking(fd: BorrowedFd<'_>) {
    if let Ok(flags) = fcntl(fd, FcntlArg::F_GETFL) {
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        let _ = fcntl(fd, FcntlArg::F_SETFL(flags));
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollTimeout, poll};
    use nix::pty::openpty;
    use nix::unistd::{pipe2, read};

    use super::*;
    use crate::diagnostics::Level;

    fn quiet() -> Diagnostics {
        let diagnostics = Diagnostics::new(Level::Error, None);
        diagnostics.leave_stderr();
        diagnostics
    }

    fn pipe(at_last_leave: AtLastLeave) -> (OwnedFd, ContainerStdin) {
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        set_nonblocking(read_end.as_fd());
        (read_end, ContainerStdin::pipe(write_end, at_last_leave))
    }

    /// What can be read now; `None` when one would have to wait.
    fn input(fd: &OwnedFd) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 100_000];
        let count = read(fd, &mut bytes).ok()?;
        bytes.truncate(count);
        Some(bytes)
    }

    #[test]
    fn what_does_not_fit_is_written_when_there_is_room() {
        let (reader, mut stdin) = pipe(AtLastLeave::Close);
        let packet: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let mark = stdin.push(packet.clone(), &quiet()).unwrap();
        assert!(!stdin.takes_after(mark, false));
        assert!(stdin.takes_after(mark, true));
        assert!(stdin.takes_after(Mark::default(), false));
        let mut received = Vec::new();
        while let Some((_, events)) = stdin.poll() {
            assert_eq!(events, PollFlags::POLLOUT);
            received.extend(input(&reader).unwrap());
            stdin.on_ready(PollFlags::POLLOUT, &quiet());
        }
        received.extend(input(&reader).unwrap());
        assert!(received == packet);
        assert!(stdin.takes_after(mark, false));
    }

    #[test]
    fn pending_input_is_written_before_the_input_ends() {
        let (reader, mut stdin) = pipe(AtLastLeave::Close);
        stdin.push(vec![b'x'; 100_000], &quiet()).unwrap();
        stdin.client_left(0, &quiet());
        // A client that comes now is too late.
        assert!(stdin.takes_after(Mark::default(), false));
        stdin.push(b"late".to_vec(), &quiet()).unwrap();
        let mut received = 0;
        while stdin.poll().is_some() {
            received += input(&reader).unwrap().len();
            stdin.on_ready(PollFlags::POLLOUT, &quiet());
        }
        received += input(&reader).unwrap().len();
        assert_eq!(received, 100_000);
        assert_eq!(input(&reader).unwrap(), b"");
    }

    #[test]
    fn clients_that_send_once_and_leave_do_not_add_up() {
        let (_reader, mut stdin) = pipe(AtLastLeave::Keep);
        let mut taken = 0;
        for _ in 0..1000 {
            if !stdin.takes_after(Mark::default(), true) {
                break;
            }
            stdin.push(vec![b'x'; 32_768], &quiet()).unwrap();
            stdin.client_left(0, &quiet());
            taken += 1;
        }
        assert!(taken < 20, "{taken}");
    }

    #[test]
    fn small_packets_that_wait_are_put_together() {
        let (reader, mut stdin) = pipe(AtLastLeave::Keep);
        stdin.push(vec![b'x'; 65_536], &quiet()).unwrap();
        let mut expected = vec![b'x'; 65_536];
        for n in 0..20_000_u32 {
            stdin.push(vec![n as u8], &quiet()).unwrap();
            expected.push(n as u8);
        }
        assert!(stdin.pending.len() < 10, "{}", stdin.pending.len());
        let mut received = Vec::new();
        while received.len() < expected.len() {
            received.extend(input(&reader).unwrap());
            stdin.on_ready(PollFlags::POLLOUT, &quiet());
        }
        assert!(received == expected);
    }

    #[test]
    fn a_reader_that_went_away_costs_the_pending_input_only() {
        let (reader, mut stdin) = pipe(AtLastLeave::Keep);
        let mark = stdin.push(vec![b'x'; 100_000], &quiet()).unwrap();
        drop(reader);
        stdin.on_ready(PollFlags::POLLOUT, &quiet());
        assert!(stdin.poll().is_none());
        assert!(stdin.takes_after(mark, false));
        // It cannot come back: the pipe is closed.
        assert!(stdin.drops_input());
    }

    #[test]
    fn input_waits_for_the_terminal() {
        let mut stdin = ContainerStdin::awaiting_console(AtLastLeave::Close);
        let mark = stdin.push(b"early\n".to_vec(), &quiet()).unwrap();
        stdin.push(b"bird\n".to_vec(), &quiet()).unwrap();
        assert!(stdin.poll().is_none());
        assert!(!stdin.takes_after(mark, false));
        stdin.client_left(0, &quiet());
        let terminal = openpty(None, None).unwrap();
        stdin.set_console(Rc::new(terminal.master), &quiet());
        assert_eq!(input(&terminal.slave).unwrap(), b"early\n");
        assert_eq!(input(&terminal.slave).unwrap(), b"bird\n");
        assert!(stdin.takes_after(mark, false));
    }

    /// known-defects D2: in the reference nobody can type any more.
    #[test]
    fn a_terminal_stays_usable_when_its_clients_leave() {
        let mut stdin = ContainerStdin::awaiting_console(AtLastLeave::Close);
        let terminal = openpty(None, None).unwrap();
        stdin.set_console(Rc::new(terminal.master), &quiet());
        stdin.client_left(0, &quiet());
        stdin.push(b"again\n".to_vec(), &quiet()).unwrap();
        assert_eq!(input(&terminal.slave).unwrap(), b"again\n");
    }

    #[test]
    fn a_terminal_that_nobody_holds_open_keeps_what_it_can_and_wakes_nobody() {
        let mut stdin = ContainerStdin::awaiting_console(AtLastLeave::Keep);
        let terminal = openpty(None, None).unwrap();
        let name = nix::unistd::ttyname(&terminal.slave).unwrap();
        stdin.set_console(Rc::new(terminal.master), &quiet());
        drop(terminal.slave);
        stdin.push(b"typed ahead\n".to_vec(), &quiet()).unwrap();
        let mark = stdin.push(vec![b'x'; 100_000], &quiet()).unwrap();
        let events = stdin.poll().map(|(fd, events)| {
            let mut polled = [PollFd::new(fd, events)];
            // A process that another test is starting may hold the terminal for a moment.
            assert_eq!(poll(&mut polled, PollTimeout::from(10_000_u16)), Ok(1));
            polled[0].revents().unwrap()
        });
        stdin.on_ready(events.unwrap(), &quiet());
        assert!(stdin.poll().is_none());
        assert!(stdin.takes_after(mark, false));
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let reopened = nix::fcntl::open(&name, flags, nix::sys::stat::Mode::empty()).unwrap();
        assert_eq!(input(&reopened).unwrap(), b"typed ahead\n");
    }
}
