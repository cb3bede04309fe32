//! One attach client: its two directions, its queue and how long it has taken nothing.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

use super::queue::{LIMIT_BYTES, PacketQueue};
use super::stdin::{ClientId, ContainerStdin, Mark};
use crate::diagnostics::Diagnostics;
use crate::stream::{CHUNK_BYTES, Stream};
use crate::sys::datagrams::send_one;
use crate::sys::socket::{PACKETS_PER_CALL, Packet, send_packets, waiting_bytes};

/// How long a queue keeps its memory after it has been emptied: a client that is slower than
/// the container fills it again and again.
const MEMORY_KEPT: Duration = Duration::from_secs(1);

/// A connected client. It is finished when nothing more can pass in either direction.
pub(super) struct Client {
    pub(super) id: ClientId,
    socket: OwnedFd,
    /// It may still send; its input is being read.
    sends: bool,
    /// It may still receive.
    receives: bool,
    /// The connection is over: poll reports nothing else any more, so the client is polled
    /// only when its input can be read on.
    hung_up: bool,
    /// Where its last packet ends in the container's input.
    pushed: Mark,
    queue: PacketQueue,
    /// Since when something is queued and the client has taken nothing.
    stalled_since: Option<Duration>,
    /// When queued packets last left.
    flushed_at: Duration,
}

impl Client {
    pub(super) fn new(id: ClientId, socket: OwnedFd) -> Self {
        Self {
            id,
            socket,
            sends: true,
            receives: true,
            hung_up: false,
            pushed: Mark::default(),
            queue: PacketQueue::default(),
            stalled_since: None,
            flushed_at: Duration::ZERO,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn sends(&self) -> bool {
        self.sends
    }

    pub(super) fn receives(&self) -> bool {
        self.receives
    }

    pub(super) fn is_finished(&self) -> bool {
        !self.sends && !self.receives
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.len_bytes()
    }

    pub(super) fn is_congested(&self) -> bool {
        self.queued_bytes() >= LIMIT_BYTES
    }

    /// What to poll the client for; `None` when there is nothing to learn.
    pub(super) fn interest(&self, stdin: &ContainerStdin) -> Option<PollFlags> {
        let reads = self.may_be_read(stdin);
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::POLLIN, reads);
        interest.set(PollFlags::POLLOUT, !self.queue.is_empty());
        (reads || !self.hung_up).then_some(interest)
    }

    /// Whether it may have something to say that `stdin` would take.
    pub(super) fn may_be_read(&self, stdin: &ContainerStdin) -> bool {
        self.sends && stdin.takes_after(self.pushed, self.hung_up)
    }

    /// Sends `bytes` in packets of one chunk each, or queues what the client does not take.
    pub(super) fn send(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        now: Duration,
        diagnostics: &Diagnostics,
    ) {
        if !self.receives {
            return;
        }
        let tag: &[u8] = match stream {
            Stream::Stdout => &[2],
            Stream::Stderr => &[3],
        };
        let mut rest = bytes;
        let sent = if self.queue.is_empty() && (1..=CHUNK_BYTES).contains(&bytes.len()) {
            send_one(self.fd(), &[IoSlice::new(tag), IoSlice::new(bytes)]).map(|()| rest = &[])
        } else {
            self.send_chunks(tag, &mut rest)
        };
        if sent.is_err_and(|errno| !is_transient(errno)) {
            return self.give_up_output(rest.len(), diagnostics);
        }
        while let Some(chunk) = rest.chunks(CHUNK_BYTES).next() {
            if self.queue.push([tag, chunk]).is_err() {
                return self.give_up_output(rest.len(), diagnostics);
            }
            rest = rest.get(chunk.len()..).unwrap_or_default();
        }
        self.watch_stall(false, now);
    }

    /// Sends `rest` in packets of one chunk each, as long as the client takes them and nothing
    /// waits for it, and leaves in it what was not sent.
    #[inline(never)]
    fn send_chunks(&self, tag: &[u8], rest: &mut &[u8]) -> nix::Result<()> {
        while self.queue.is_empty() && !rest.is_empty() {
            let mut packets: [Packet<'_>; PACKETS_PER_CALL] = [[tag, &[]]; PACKETS_PER_CALL];
            let mut count = 0;
            for (packet, chunk) in packets.iter_mut().zip(rest.chunks(CHUNK_BYTES)) {
                *packet = [tag, chunk];
                count += 1;
            }
            let packets = packets.get(..count).unwrap_or_default();
            let sent = send_packets(self.fd(), packets)?;
            *rest = rest.get(sent * CHUNK_BYTES..).unwrap_or_default();
            if sent < count {
                break;
            }
        }
        Ok(())
    }

    /// Sends what is queued, as far as the client takes it.
    pub(super) fn flush(&mut self, now: Duration, diagnostics: &Diagnostics) {
        match self.queue.send(self.socket.as_fd()) {
            Ok(sent) => {
                self.watch_stall(sent > 0, now);
                self.flushed_at = now;
            }
            Err(errno) if is_transient(errno) => self.watch_stall(false, now),
            Err(_) => self.give_up_output(0, diagnostics),
        }
    }

    /// When the client will have taken nothing for `timeout`, if something waits for it.
    pub(super) fn stalls_at(&self, timeout: Duration) -> Option<Duration> {
        self.stalled_since.map(|since| since.saturating_add(timeout))
    }

    /// When the empty queue's memory is to be given back, if it still has any.
    pub(super) fn releases_at(&self) -> Option<Duration> {
        let at = self.flushed_at.saturating_add(MEMORY_KEPT);
        self.queue.holds_spare_memory().then_some(at)
    }

    #[cfg(test)]
    pub(super) fn has_spare_memory(&self) -> bool {
        self.queue.has_spare()
    }

    pub(super) fn release_memory(&mut self) {
        self.queue.release_memory();
    }

    fn watch_stall(&mut self, progressed: bool, now: Duration) {
        if self.queue.is_empty() {
            self.stalled_since = None;
        } else if progressed || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    /// Ends the connection and returns how much output was queued. What the client sent before
    /// still reaches the container: poll reports the hang-up and [`read`](Self::read) goes on
    /// to the end.
    pub(super) fn cut_off(&mut self) -> usize {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        self.drop_output()
    }

    /// The connection is over; what was queued is lost, which is said.
    pub(super) fn hang_up(&mut self, diagnostics: &Diagnostics) {
        self.hung_up = true;
        report_lost(self.drop_output(), diagnostics);
    }

    /// The client takes no output any more: what is queued is lost, and `unqueued` bytes more.
    fn give_up_output(&mut self, unqueued: usize, diagnostics: &Diagnostics) {
        diagnostics.warn("Failed to write to remote console socket");
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        report_lost(self.drop_output() + unqueued, diagnostics);
    }

    fn drop_output(&mut self) -> usize {
        let lost = self.queue.output_bytes();
        self.receives = false;
        self.queue = PacketQueue::default();
        self.stalled_since = None;
        lost
    }

    /// Passes at most one packet on to the container; returns whether the client has now
    /// ended its sending, by an empty packet or an end of file, which look the same.
    pub(super) fn read(&mut self, stdin: &mut ContainerStdin, diagnostics: &Diagnostics) -> bool {
        let received = match self.receive() {
            Ok(packet) if packet.is_empty() => Ok(false),
            Ok(packet) => stdin.push(packet, diagnostics).map(|mark| {
                self.pushed = mark;
                true
            }),
            Err(errno) => Err(errno),
        };
        match received {
            Ok(goes_on) => self.sends = goes_on,
            Err(Errno::ENOMEM) => {
                let text = "Attach client's input does not fit into memory: closing its connection";
                diagnostics.warn(text);
                report_lost(self.cut_off(), diagnostics);
                self.sends = false;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if !self.hung_up => {}
            // The client closed its end with output unread: that is said once, ahead of what
            // it sent.
            Err(Errno::ECONNRESET) => {}
            Err(_) => self.sends = false,
        }
        !self.sends
    }

    /// Takes one packet into a buffer of its size: it may be of any length, and an idle
    /// client costs no buffer. `ENOMEM` when there is no memory for that.
    fn receive(&self) -> nix::Result<Vec<u8>> {
        let socket = self.socket.as_raw_fd();
        let size = recv(socket, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
        let mut packet = Vec::new();
        packet.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        packet.resize(size, 0);
        if size > 0 {
            let received = recv(socket, &mut packet, MsgFlags::empty())?;
            packet.truncate(received);
        }
        Ok(packet)
    }
}

impl Drop for Client {
    /// Reads what nobody wants any more before the socket is closed: the kernel would else
    /// report a reset to the client in place of the output it has not read yet.
    fn drop(&mut self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        while waiting_bytes(self.fd()).is_ok_and(|bytes| bytes > 0) {
            if recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).is_err() {
                break;
            }
        }
    }
}

/// Says how much output did not reach a client that is gone.
fn report_lost(bytes: usize, diagnostics: &Diagnostics) {
    if bytes > 0 {
        diagnostics
            .warn(format!("Attach client is gone: {bytes} bytes of output did not reach it"));
    }
}

/// The client cannot take a packet now but may later.
fn is_transient(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM)
}
