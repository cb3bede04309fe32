//! The journald driver: one entry a line, with what a stream's last chunk left unfinished.
//!
//! Nothing is dropped because the journal is slow: what its socket does not take waits here,
//! and the monitor stops reading container output meanwhile.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::config::LogConfig;
use crate::diagnostics::Diagnostics;
use crate::log::entry::{Fields, Kind, MessageHead, PIECES, split_priority};
use crate::log::journal_socket::{JournalSocket, Sent};
use crate::log::lines::Lines;
use crate::stream::{CHUNK_BYTES, Stream};
use crate::sys::datagrams::BATCH;

/// One entry to be: the pending text, if `with_pending`, and a range of the chunk.
#[derive(Clone, Copy, Default)]
struct Piece {
    with_pending: bool,
    start: usize,
    end: usize,
    kind: Kind,
}

/// The entries that one system call sends, at most `N`.
struct Batch<const N: usize> {
    pieces: [Piece; N],
    count: usize,
}

impl<const N: usize> Batch<N> {
    fn new() -> Self {
        Self { pieces: [Piece::default(); N], count: 0 }
    }

    fn push(&mut self, piece: Piece) {
        if let Some(place) = self.pieces.get_mut(self.count) {
            *place = piece;
            self.count += 1;
        }
    }

    fn pieces(&self) -> &[Piece] {
        self.pieces.get(..self.count).unwrap_or_default()
    }
}

/// The journal as a log.
pub(crate) struct Journald {
    socket: JournalSocket,
    fields: Fields,
    /// Unfinished lines, of stdout and stderr; each shorter than a chunk.
    pending: [Vec<u8>; 2],
    /// What the journal has not taken yet.
    backlog: VecDeque<Waiting>,
    /// No more output will come: unfinished lines are entries of their own.
    ended: bool,
}

/// A chunk of which the first `done` bytes have been dealt with.
struct Waiting {
    stream: Stream,
    chunk: Vec<u8>,
    done: usize,
}

impl Journald {
    /// Entries of the container `cid` go to the journal that listens at `socket`.
    pub(crate) fn new(cid: &OsStr, config: &LogConfig, socket: PathBuf) -> Self {
        Self {
            socket: JournalSocket::new(socket),
            fields: Fields::new(cid, config),
            pending: [Vec::new(), Vec::new()],
            backlog: VecDeque::new(),
            ended: false,
        }
    }

    /// Logs what one read returned, chunk by chunk.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], diag: &Diagnostics) {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let done = if self.is_blocked() { 0 } else { self.send_chunk(stream, chunk, 0, diag) };
            let rest = chunk.get(done..).unwrap_or_default();
            if !rest.is_empty() && !self.keep(stream, rest) {
                self.socket.count_dropped(Lines::new(rest).count(), rest.len());
            }
        }
    }

    /// Has `rest` wait; `false` where there is no memory for it.
    fn keep(&mut self, stream: Stream, rest: &[u8]) -> bool {
        let mut chunk = Vec::new();
        let room = chunk.try_reserve_exact(rest.len()).and_then(|()| self.backlog.try_reserve(1));
        if room.is_err() {
            return false;
        }
        chunk.extend_from_slice(rest);
        self.backlog.push_back(Waiting { stream, chunk, done: 0 });
        true
    }

    /// Whether the journal has to take entries before more output should be read.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.backlog.is_empty() || (self.ended && self.pending.iter().any(|text| !text.is_empty()))
    }

    /// What becomes writable when the journal takes entries again.
    pub(crate) fn blocked_on(&self) -> Option<BorrowedFd<'_>> {
        if self.is_blocked() { self.socket.fd() } else { None }
    }

    /// Sends on after [`Self::is_blocked`].
    pub(crate) fn resume(&mut self, diag: &Diagnostics) {
        while let Some(mut waiting) = self.backlog.pop_front() {
            let Waiting { stream, chunk, done } = &waiting;
            waiting.done = self.send_chunk(*stream, chunk, *done, diag);
            if waiting.done < waiting.chunk.len() {
                self.backlog.push_front(waiting);
                return;
            }
        }
        self.backlog = VecDeque::new();
        if self.ended {
            self.send_unfinished(diag);
        }
    }

    /// How much waits.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let chunks = self.backlog.iter().map(|waiting| waiting.chunk.len() - waiting.done);
        let unfinished = self.pending.iter().filter(|_| self.ended).map(Vec::len);
        chunks.chain(unfinished).sum()
    }

    /// No more output will come: sends the unfinished lines, after what waits.
    pub(crate) fn end_output(&mut self, diag: &Diagnostics) {
        self.ended = true;
        self.resume(diag);
    }

    /// Drops what waits, and says what had to be dropped and was not yet reported.
    pub(crate) fn drop_waiting(&mut self, diag: &Diagnostics) {
        for waiting in std::mem::take(&mut self.backlog) {
            let rest = waiting.chunk.get(waiting.done..).unwrap_or_default();
            self.socket.count_dropped(Lines::new(rest).count(), rest.len());
        }
        for text in std::mem::take(&mut self.pending).iter().filter(|text| !text.is_empty()) {
            self.socket.count_dropped(1, text.len());
        }
        self.socket.finish(diag);
    }

    /// Sends what no newline has ended, as far as the journal takes it.
    fn send_unfinished(&mut self, diag: &Diagnostics) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(self.pending_mut(stream));
            let kind = Kind { priority: default_priority(stream), partial: true };
            if !rest.is_empty() && self.send_rest(&rest, kind, diag) == Sent::Blocked {
                *self.pending_mut(stream) = rest;
                return;
            }
        }
    }

    pub(crate) fn release_buffers(&mut self) {
        for pending in &mut self.pending {
            pending.shrink_to_fit();
        }
    }

    fn pending_mut(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [out, err] = &mut self.pending;
        match stream {
            Stream::Stdout => out,
            Stream::Stderr => err,
        }
    }

    /// Sends the entries of a chunk from `done` on; returns how far it came before the journal
    /// would have blocked.
    fn send_chunk(
        &mut self,
        stream: Stream,
        chunk: &[u8],
        mut done: usize,
        diag: &Diagnostics,
    ) -> usize {
        while done < chunk.len() {
            // A line that comes alone takes no more stack than it needs.
            let is_single = Lines::new(chunk.get(done..).unwrap_or_default()).nth(1).is_none();
            let next = if is_single {
                self.send_next::<1>(stream, chunk, done, diag)
            } else {
                self.send_next::<BATCH>(stream, chunk, done, diag)
            };
            let Some(next) = next else { return done };
            done = next;
        }
        done
    }

    /// Sends at most `N` entries of a chunk from `done` on, or keeps its unfinished rest; returns
    /// how far it came, or `None` if the journal would have blocked.
    #[inline(never)]
    fn send_next<const N: usize>(
        &mut self,
        stream: Stream,
        chunk: &[u8],
        done: usize,
        diag: &Diagnostics,
    ) -> Option<usize> {
        let (batch, rest) = self.collect::<N>(stream, chunk, done);
        if batch.count == 0 {
            let rest = chunk.get(rest..).unwrap_or_default();
            let pending = self.pending_mut(stream);
            if pending.try_reserve(rest.len()).is_ok() {
                pending.extend_from_slice(rest);
            } else {
                self.socket.count_dropped(1, rest.len());
            }
            return Some(chunk.len());
        }
        let Sent::Entries(count) = self.send_batch(stream, chunk, &batch, diag) else {
            return None;
        };
        let last = count.checked_sub(1).and_then(|last| batch.pieces().get(last));
        Some(last.map_or(done, |last| {
            self.pending_mut(stream).clear();
            last.end
        }))
    }

    /// The next entries from `done` on, at most `N`, and where they end.
    fn collect<const N: usize>(
        &self,
        stream: Stream,
        chunk: &[u8],
        done: usize,
    ) -> (Batch<N>, usize) {
        let mut batch = Batch::new();
        let text = chunk.get(done..).unwrap_or_default();
        let mut pending = of(&self.pending, stream).len();
        let mut end = done;
        for line in Lines::new(text) {
            let keep = !line.ended && line.len() < CHUNK_BYTES - pending;
            if keep || batch.count == N {
                break;
            }
            let mut priority = default_priority(stream);
            let mut start = done + line.start;
            if pending == 0 {
                let piece = text.get(line.start..line.end).unwrap_or_default();
                if let Some(given) = split_priority(piece) {
                    (priority, start) = (given, start + 3);
                }
            }
            end = done + line.end;
            let kind = Kind { priority, partial: !line.ended };
            batch.push(Piece { with_pending: pending > 0, start, end, kind });
            pending = 0;
        }
        (batch, end)
    }

    fn send_batch<const N: usize>(
        &mut self,
        stream: Stream,
        chunk: &[u8],
        batch: &Batch<N>,
        diag: &Diagnostics,
    ) -> Sent {
        batch.pieces().iter().for_each(|piece| self.fields.prepare(piece.kind));
        let pending = of(&self.pending, stream);
        let mut heads = [MessageHead::default(); N];
        let mut entries = [[IoSlice::new(&[]); PIECES]; N];
        let places = entries.iter_mut().zip(&mut heads);
        for ((entry, head), piece) in places.zip(batch.pieces().iter()) {
            let pending = if piece.with_pending { pending } else { &[] };
            let text = chunk.get(piece.start..piece.end).unwrap_or_default();
            *head = MessageHead::new(pending.len() + text.len(), piece.kind);
            *entry = self.fields.entry(head, pending, text, piece.kind);
        }
        let entries = entries.get(..batch.count).unwrap_or_default();
        self.socket.send(entries, diag)
    }

    fn send_rest(&mut self, rest: &[u8], kind: Kind, diag: &Diagnostics) -> Sent {
        self.fields.prepare(kind);
        let head = MessageHead::new(rest.len(), kind);
        self.socket.send(&[self.fields.entry(&head, &[], rest, kind)], diag)
    }
}

fn default_priority(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 6,
        Stream::Stderr => 3,
    }
}

fn of([out, err]: &[Vec<u8>; 2], stream: Stream) -> &[u8] {
    match stream {
        Stream::Stdout => out,
        Stream::Stderr => err,
    }
}
