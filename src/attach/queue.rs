//! What one attach client has not taken yet: packets that stay packets.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::stream::CHUNK_BYTES;
use crate::sys::socket::{PACKETS_PER_CALL, Packet, send_packets};

/// A client whose queue holds this much holds back the container's output.
pub(super) const LIMIT_BYTES: usize = 256 * 1024;

/// Bytes before each packet in the queue: its length, little-endian.
const PREFIX_BYTES: usize = 2;

/// Allocated at once: the limit plus what one more round of output can add. A block of this
/// size is mapped on its own, so what is not used costs nothing and all of it is given back.
const CAPACITY_BYTES: usize = LIMIT_BYTES + PACKETS_PER_CALL * (PREFIX_BYTES + 1 + CHUNK_BYTES);

/// Packets in order, with no memory of its own while it is empty.
#[derive(Default)]
pub(super) struct PacketQueue {
    /// Each packet as its length and its bytes.
    ring: VecDeque<u8>,
}

impl PacketQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.ring.len()
    }

    /// Adds one packet of at most 65535 bytes, given in two pieces.
    pub(super) fn push(&mut self, packet: Packet<'_>) {
        if self.ring.capacity() == 0 {
            self.ring.reserve_exact(CAPACITY_BYTES);
        }
        let length = packet.iter().map(|piece| piece.len()).sum::<usize>();
        let Ok(length) = u16::try_from(length) else { return };
        self.ring.extend(length.to_le_bytes());
        for piece in packet {
            self.ring.extend(piece);
        }
    }

    /// Sends packets until the queue is empty or the socket takes no more; returns how many
    /// left. An error after some have left shows in the next call.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> nix::Result<usize> {
        let mut total = 0;
        while !self.ring.is_empty() {
            let (packets, count) = self.front();
            let offered = packets.get(..count).unwrap_or_default();
            let sent = match send_packets(socket, offered) {
                Ok(sent) => sent,
                Err(_) if total > 0 => return Ok(total),
                Err(errno) => return Err(errno),
            };
            let length =
                |packet: &Packet<'_>| packet.iter().map(|piece| piece.len()).sum::<usize>();
            let left: usize =
                offered.iter().take(sent).map(|packet| PREFIX_BYTES + length(packet)).sum();
            let all = sent == count;
            self.ring.drain(..left);
            total += sent;
            if !all {
                return Ok(total);
            }
        }
        self.ring = VecDeque::new();
        Ok(total)
    }

    /// The first packets, as many as one call can send.
    fn front(&self) -> ([Packet<'_>; PACKETS_PER_CALL], usize) {
        let mut packets: [Packet<'_>; PACKETS_PER_CALL] = [[&[], &[]]; PACKETS_PER_CALL];
        let mut at = 0;
        let mut count = 0;
        for packet in &mut packets {
            let (Some(low), Some(high)) = (self.ring.get(at), self.ring.get(at + 1)) else {
                break;
            };
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            at += PREFIX_BYTES;
            *packet = self.slices(at, at + length);
            at += length;
            count += 1;
        }
        (packets, count)
    }

    /// The bytes from `start` to `end`, which may lie on both sides of the ring's seam.
    fn slices(&self, start: usize, end: usize) -> Packet<'_> {
        let (head, tail) = self.ring.as_slices();
        let within = |slice: &'_ [u8], offset: usize| {
            let from = start.saturating_sub(offset).min(slice.len());
            let to = end.saturating_sub(offset).min(slice.len());
            from..to
        };
        let in_head = within(head, 0);
        let in_tail = within(tail, head.len());
        [head.get(in_head).unwrap_or_default(), tail.get(in_tail).unwrap_or_default()]
    }
}
