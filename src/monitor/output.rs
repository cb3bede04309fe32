//! The container's output on its way from the streams to the log and the attach clients.

use std::time::Duration;

use super::held::Surplus;
use super::{Monitor, Phase};
use crate::stdio::output::{Output, Read, ReadBuffer, SHORT_READ_BYTES, is_one_write};
use crate::stream::Stream;
use crate::sys;

/// How often a stream is read in one turn while it gives all that one read can take.
const READS_PER_TURN: usize = 4;

impl Monitor<'_> {
    /// Reads a stream that has something, a few times while it gives all that one read can take.
    #[inline(never)]
    pub(super) fn on_output(&mut self, stream: Stream) {
        for _ in 0..READS_PER_TURN {
            // A client of this same turn may have become unable to take more.
            if !self.takes_output() || !Output::fills(self.read_output(stream)) {
                return;
            }
            // What comes now may have come after the wait.
            self.work.nobody_new = false;
        }
    }

    /// Reads once from `stream` and passes on what came. Returns how many bytes did.
    pub(super) fn read_output(&mut self, stream: Stream) -> usize {
        let slot = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(output) = slot else { return 0 };
        let now = sys::time::monotonic();
        let mut short = [0; SHORT_READ_BYTES];
        match output.read(&mut short, &mut self.work.buffer, now) {
            Read::Short(length) => {
                self.take_output(stream, short.get(..length).unwrap_or_default(), now);
                return length;
            }
            Read::Bytes(length) => {
                self.work.worked_hard |= length >= SHORT_READ_BYTES;
                let buffer = std::mem::replace(&mut self.work.buffer, ReadBuffer::new());
                self.take_output(stream, buffer.filled(length), now);
                self.work.buffer = buffer;
                return length;
            }
            Read::Nothing => {}
            Read::End if !output.ends_for_good() => {}
            Read::End => *slot = None,
            Read::Failed { errno, first: true } => {
                self.diag.warn_errno("stdio_input read failed", errno);
            }
            Read::Failed { .. } => {}
        }
        0
    }

    fn take_output(&mut self, stream: Stream, bytes: &[u8], now: Duration) {
        if let Phase::Creating { creation, .. } = &mut self.phase {
            let surplus = creation.hold(stream, bytes);
            self.pass_on(stream, &surplus, now);
        } else {
            self.deliver(stream, bytes, now);
        }
    }

    /// Hands on what cannot be held back.
    pub(super) fn pass_on(&mut self, stream: Stream, surplus: &Surplus<'_>, now: Duration) {
        for bytes in [&surplus.held, surplus.new] {
            if !bytes.is_empty() {
                self.deliver(stream, bytes, now);
            }
        }
    }

    /// Hands container output to the log, then to the attach clients.
    pub(super) fn deliver(&mut self, stream: Stream, bytes: &[u8], now: Duration) {
        self.log.write(stream, bytes, self.diag);
        if let Some(attach) = &mut self.attach {
            // Whoever connected before this was read is entitled to it. The wait has already told
            // whether anybody had before this was written, if all of it was written at once.
            let is_one_write = is_one_write(bytes);
            self.work.steady.read(is_one_write);
            if !(self.work.nobody_new && is_one_write) {
                attach.accept(now, self.diag);
            }
            attach.broadcast(stream, bytes, now, self.diag);
        }
    }
}
