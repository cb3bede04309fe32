//! Collects the records of a k8s-file, to be written by one call, and knows where each ends.
//!
//! Short contents are copied beside their heads; long ones stay where they were read.

use std::io::IoSlice;

use crate::log::lines::{Line, Lines};
use crate::log::stamp::{HEAD_BYTES, Heads};
use crate::stream::CHUNK_BYTES;

/// Contents up to this length are copied; for longer ones the copy costs more than the
/// additional pieces of a vectored write.
const COPY_BYTES: usize = 512;

/// Contents up to this length are copied as if they had it, which needs no loop.
const SHORT_BYTES: usize = 32;

/// How many inserts a batch of a lot of output has room for.
pub(crate) const INSERTS: usize = 64;

/// Scratch space that always takes one record.
pub(crate) const SCRATCH_MIN: usize = HEAD_BYTES + COPY_BYTES + SHORT_BYTES + 2;

/// Scratch space that takes `lines` records of `bytes` bytes in all, short ones.
pub(crate) const fn scratch_bytes(bytes: usize, lines: usize) -> usize {
    bytes + lines * (HEAD_BYTES + 1) + SHORT_BYTES + 1
}

/// The most pieces that a batch with so many inserts consists of.
pub(crate) const fn pieces(inserts: usize) -> usize {
    2 * inserts + 1
}

/// A content that stands between the bytes of the scratch space.
#[derive(Clone, Copy, Default)]
pub(crate) struct Insert {
    /// Its place in the scratch space, and its range in the input.
    at: usize,
    start: usize,
    end: usize,
}

/// What an interrupted write left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remains {
    /// The bytes up to the end of the last whole record.
    pub(crate) whole_bytes: usize,
    pub(crate) lost_lines: u64,
    /// Of container output, without the records' heads.
    pub(crate) lost_bytes: u64,
}

/// Records waiting to be written; those of one contiguous range of the input.
pub(crate) struct Batch<'a> {
    scratch: &'a mut [u8],
    input: &'a [u8],
    used: usize,
    inserts: &'a mut [Insert],
    insert_count: usize,
    bytes: usize,
    range: std::ops::Range<usize>,
    /// Whether the first byte is a newline that ends a torn record of an earlier batch.
    mends: bool,
}

impl<'a> Batch<'a> {
    /// An empty batch for the records of `input`; `scratch` has at least [`SCRATCH_MIN`] bytes.
    ///
    /// `inserts` is the place for one content each of more than half a KiB.
    pub(crate) fn new(scratch: &'a mut [u8], inserts: &'a mut [Insert], input: &'a [u8]) -> Self {
        debug_assert!(scratch.len() >= SCRATCH_MIN, "a record might never fit");
        Self {
            scratch,
            input,
            used: 0,
            inserts,
            insert_count: 0,
            bytes: 0,
            range: 0..0,
            mends: false,
        }
    }

    /// How long the batch is as it will be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no record is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Empties the batch; the next record is expected at `next` of the input.
    pub(crate) fn restart(&mut self, next: usize) {
        self.used = 0;
        self.insert_count = 0;
        self.bytes = 0;
        self.range = next..next;
        self.mends = false;
    }

    /// Empties the batch behind its last record.
    pub(crate) fn restart_behind(&mut self) {
        self.restart(self.range.end);
    }

    /// Ends a torn record before the first one of this batch, which is still empty.
    pub(crate) fn mend(&mut self) {
        if self.bytes == 0 {
            if let Some(byte) = self.scratch.first_mut() {
                *byte = b'\n';
                self.used = 1;
                self.bytes = 1;
                self.mends = true;
            }
        }
    }

    /// Appends the record of one line of the input; `false` if it does not fit any more.
    #[inline]
    pub(crate) fn push(&mut self, heads: &Heads, line: Line) -> bool {
        let length = line.len();
        let copied = if length <= COPY_BYTES { length } else { 0 };
        let room = self.scratch.get_mut(self.used..).unwrap_or_default();
        if room.len() < HEAD_BYTES + copied + SHORT_BYTES + 1 {
            return false;
        }
        if length > COPY_BYTES && self.insert_count == self.inserts.len() {
            return false;
        }
        let (head, newline) = if line.ended { (&heads.full, 0) } else { (&heads.partial, 1) };
        let Some((to, room)) = room.split_first_chunk_mut::<HEAD_BYTES>() else { return false };
        *to = *head;
        if length <= COPY_BYTES {
            let input = self.input.get(line.start..).unwrap_or_default();
            match (room.first_chunk_mut::<SHORT_BYTES>(), input.first_chunk::<SHORT_BYTES>()) {
                (Some(to), Some(from)) if length <= SHORT_BYTES => *to = *from,
                _ => match (room.get_mut(..length), input.get(..length)) {
                    (Some(to), Some(from)) => to.copy_from_slice(from),
                    _ => return false,
                },
            }
        } else if let Some(insert) = self.inserts.get_mut(self.insert_count) {
            *insert = Insert { at: self.used + HEAD_BYTES, start: line.start, end: line.end };
            self.insert_count += 1;
        }
        if newline == 1 {
            if let Some(byte) = room.get_mut(copied) {
                *byte = b'\n';
            }
        }
        self.used += HEAD_BYTES + copied + newline;
        self.bytes += HEAD_BYTES + length + newline;
        self.range.end = line.end;
        true
    }

    /// How many inserts it has; [`pieces`] says how much place its pieces need.
    pub(crate) fn insert_count(&self) -> usize {
        self.insert_count
    }

    /// The batch as the pieces of one vectored write, laid out in `pieces`.
    pub(crate) fn pieces<'b>(&'b self, pieces: &'b mut [IoSlice<'b>]) -> &'b mut [IoSlice<'b>] {
        let inserts = self.inserts.get(..self.insert_count).unwrap_or_default();
        let mut places = pieces.iter_mut();
        let mut count = 0;
        let mut from = 0;
        let mut place = |bytes: Option<&'b [u8]>| {
            if let (Some(piece), Some(bytes)) = (places.next(), bytes) {
                *piece = IoSlice::new(bytes);
                count += 1;
            }
        };
        for insert in inserts {
            place(self.scratch.get(from..insert.at));
            place(self.input.get(insert.start..insert.end));
            from = insert.at;
        }
        if from < self.used {
            place(self.scratch.get(from..self.used));
        }
        pieces.get_mut(..count).unwrap_or_default()
    }

    /// Appends the whole batch to `buffer`.
    pub(crate) fn copy_to(&self, buffer: &mut Vec<u8>) {
        let mut places = [IoSlice::new(&[]); pieces(INSERTS)];
        self.pieces(&mut places).iter().for_each(|piece| buffer.extend_from_slice(piece));
    }

    /// What is left of the batch when only its first `written` bytes could be written.
    pub(crate) fn remains(&self, written: usize) -> Remains {
        let mut whole_bytes = usize::from(self.mends).min(written);
        let (mut lost_lines, mut lost_bytes) = (0, 0);
        let mut start = self.range.start;
        while start < self.range.end {
            let chunk_end = (start / CHUNK_BYTES + 1) * CHUNK_BYTES;
            let end = chunk_end.min(self.range.end);
            for line in Lines::new(self.input.get(start..end).unwrap_or_default()) {
                let cost = record_bytes(line);
                if lost_lines == 0 && whole_bytes + cost <= written {
                    whole_bytes += cost;
                } else {
                    lost_lines += 1;
                    lost_bytes += line.len() as u64;
                }
            }
            start = end;
        }
        Remains { whole_bytes, lost_lines, lost_bytes }
    }
}

/// How long a line is as a record.
#[inline]
pub(crate) fn record_bytes(line: Line) -> usize {
    HEAD_BYTES + line.len() + usize::from(!line.ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const HEADS: Heads = Heads { full: [b'F'; HEAD_BYTES], partial: [b'P'; HEAD_BYTES] };

    /// All of `input` as one batch, and the same written down naively.
    fn framed(input: &[u8], scratch: &mut [u8], check: impl FnOnce(&Batch<'_>, &[u8])) {
        let mut expected = Vec::new();
        let mut inserts = [Insert::default(); 4];
        let mut batch = Batch::new(scratch, &mut inserts, input);
        for line in Lines::new(input) {
            assert!(batch.push(&HEADS, line));
            expected.extend(if line.ended { HEADS.full } else { HEADS.partial });
            expected.extend(&input[line.start..line.end]);
            expected.extend((!line.ended).then_some(b'\n'));
        }
        check(&batch, &expected);
    }

    fn written(batch: &Batch<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch.copy_to(&mut bytes);
        bytes
    }

    #[rstest]
    #[case::nothing(&[])]
    #[case::short(&[1, 2, 16, 31, 32, 33, 1])]
    #[case::at_the_copying_limit(&[511, 512, 513, 514])]
    #[case::long_and_short_mixed(&[3000, 5, 1000, 1, 700])]
    fn pieces_are_the_records_in_order(#[case] lengths: &[usize]) {
        for unended in [0, 1, 40, 600] {
            let mut input = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                input.extend(vec![b'a' + index as u8; length - 1]);
                input.push(b'\n');
            }
            input.extend(vec![b'z'; unended]);
            framed(&input, &mut [0; 4096], |batch, expected| {
                assert_eq!(written(batch), expected);
                assert_eq!(batch.bytes(), expected.len());
            });
        }
    }

    #[test]
    fn refuses_what_does_not_fit_and_takes_it_when_empty_again() {
        let input = [vec![b'x'; 511], vec![b'\n'], vec![b'y'; 511], vec![b'\n']].concat();
        let lines: Vec<Line> = Lines::new(&input).collect();
        let mut scratch = [0; SCRATCH_MIN];
        let mut inserts = [Insert::default(); 1];
        let mut batch = Batch::new(&mut scratch, &mut inserts, &input);
        assert!(batch.push(&HEADS, lines[0]));
        assert!(!batch.push(&HEADS, lines[1]));
        batch.restart_behind();
        batch.mend();
        assert!(batch.push(&HEADS, lines[1]));
        let expected = [b"\n".as_slice(), &HEADS.full, &input[512..]].concat();
        assert_eq!(written(&batch), expected);
    }

    #[test]
    fn knows_for_every_written_length_which_records_are_whole() {
        let input = b"one\n\nthree\nfour";
        framed(input, &mut [0; 4096], |batch, expected| {
            let sizes = [HEAD_BYTES + 4, HEAD_BYTES + 1, HEAD_BYTES + 6, HEAD_BYTES + 5];
            let contents = [4, 1, 6, 4];
            for cut in 0..=expected.len() {
                let mut remains = Remains { whole_bytes: 0, lost_lines: 0, lost_bytes: 0 };
                for (size, content) in sizes.iter().zip(contents) {
                    if remains.lost_lines == 0 && remains.whole_bytes + size <= cut {
                        remains.whole_bytes += size;
                    } else {
                        remains.lost_lines += 1;
                        remains.lost_bytes += content;
                    }
                }
                assert_eq!(batch.remains(cut), remains, "cut at {cut}");
            }
        });
    }
}
