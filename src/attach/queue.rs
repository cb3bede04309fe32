//! What one attach client has not taken yet: packets that stay packets.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::sys::pages::Pages;
use crate::sys::socket::{PACKETS_PER_CALL, Packet, send_packets};

/// A client whose queue holds this much holds back the container's output.
pub(super) const LIMIT_BYTES: usize = 256 * 1024;

/// The size of a segment, less than which no packet is.
const SEGMENT_BYTES: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// Bytes before each packet in its segment: the packet's length, little-endian.
const PREFIX_BYTES: usize = 2;

/// Packets in order. Its memory is mapped for it alone, so that all of it can go back to the
/// system when the queue has not been used for a while: a heap would keep it.
#[derive(Default)]
pub(super) struct PacketQueue {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// Segments that have been sent, to be filled again.
    spare: Vec<Segment>,
}

/// Whole packets, each after its length.
struct Segment {
    pages: Pages,
    /// What has been sent of it.
    start: usize,
    /// What has been written into it.
    end: usize,
}

impl PacketQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one packet, given in two pieces and smaller than a segment.
    ///
    /// # Errors
    ///
    /// What the system says when there is no memory; the packet is not queued.
    pub(super) fn push(&mut self, packet: Packet<'_>) -> nix::Result<()> {
        let appended = self.segments.back_mut().and_then(|segment| segment.append(packet));
        let added = match appended {
            Some(added) => added,
            None => {
                let mut segment = match self.spare.pop() {
                    Some(segment) => segment,
                    None => Segment { pages: Pages::new(SEGMENT_BYTES)?, start: 0, end: 0 },
                };
                let added = segment.append(packet).ok_or(Errno::EMSGSIZE)?;
                self.segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.segments.push_back(segment);
                added
            }
        };
        self.bytes += added;
        Ok(())
    }

    /// Sends packets until the queue is empty or the socket takes no more; returns how many
    /// left. An error after some have left shows in the next call.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> nix::Result<usize> {
        let mut total = 0;
        while let Some(segment) = self.segments.front_mut() {
            match segment.send(socket) {
                Ok(Sent { packets, bytes, all }) => {
                    total += packets;
                    self.bytes = self.bytes.saturating_sub(bytes);
                    if segment.start == segment.end {
                        (segment.start, segment.end) = (0, 0);
                        self.spare.extend(self.segments.pop_front());
                    }
                    if !all {
                        return Ok(total);
                    }
                }
                Err(_) if total > 0 => return Ok(total),
                Err(errno) => return Err(errno),
            }
        }
        Ok(total)
    }

    /// How much container output is queued: packets without their length and their first byte,
    /// the stream's mark.
    pub(super) fn output_bytes(&self) -> usize {
        self.segments.iter().map(Segment::output_bytes).sum()
    }

    /// Whether it is empty but still has memory.
    pub(super) fn holds_spare_memory(&self) -> bool {
        self.is_empty() && !self.spare.is_empty()
    }

    #[cfg(test)]
    pub(super) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    /// Gives back all memory that holds no packet.
    pub(super) fn release_memory(&mut self) {
        self.spare = Vec::new();
        self.segments.shrink_to_fit();
    }
}

/// What one call sent.
struct Sent {
    packets: usize,
    bytes: usize,
    /// Everything that was offered.
    all: bool,
}

impl Segment {
    /// Adds a packet behind the others if there is room for it; returns what it took.
    fn append(&mut self, packet: Packet<'_>) -> Option<usize> {
        let length: usize = packet.iter().map(|piece| piece.len()).sum();
        let prefix = u16::try_from(length).ok()?.to_le_bytes();
        let mut room = self.pages.get_mut(self.end..self.end + PREFIX_BYTES + length)?;
        for piece in [&prefix[..], packet[0], packet[1]] {
            let (place, rest) = room.split_at_mut_checked(piece.len())?;
            place.copy_from_slice(piece);
            room = rest;
        }
        self.end += PREFIX_BYTES + length;
        Some(PREFIX_BYTES + length)
    }

    fn output_bytes(&self) -> usize {
        let mut rest = self.pages.get(self.start..self.end).unwrap_or_default();
        let mut bytes = 0;
        while let Some((packet, after)) = first_packet(rest) {
            bytes += packet.len().saturating_sub(1);
            rest = after;
        }
        bytes
    }

    /// Sends the first packets, as many as one call can.
    fn send(&mut self, socket: BorrowedFd<'_>) -> nix::Result<Sent> {
        let mut packets: [Packet<'_>; PACKETS_PER_CALL] = [[&[], &[]]; PACKETS_PER_CALL];
        let mut rest = self.pages.get(self.start..self.end).unwrap_or_default();
        let mut count = 0;
        for place in &mut packets {
            let Some((packet, after)) = first_packet(rest) else { break };
            *place = [packet, &[]];
            rest = after;
            count += 1;
        }
        let offered = packets.get(..count).unwrap_or_default();
        let sent = send_packets(socket, offered)?;
        let left = offered.iter().take(sent);
        let bytes = left.map(|packet| PREFIX_BYTES + packet[0].len()).sum();
        self.start += bytes;
        Ok(Sent { packets: sent, bytes, all: sent == count })
    }
}

/// Parts a segment's content after its first packet.
fn first_packet(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = content.split_first_chunk::<PREFIX_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*prefix)))
}
