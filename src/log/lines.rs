//! Cuts a chunk of output into lines. Keeps nothing from one chunk to the next.

use crate::sys::newlines::{BLOCK_BYTES, first_newline, newline_bits};

/// After so many bytes without a newline it is taken to be a long line, and the next newline
/// is searched for in another way.
const LONG_BYTES: usize = 256;

/// A piece of a chunk, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) start: usize,
    /// Behind the newline, if there is one.
    pub(crate) end: usize,
    /// Whether it ends in a newline; only a chunk's last piece may lack it.
    pub(crate) ended: bool,
}

impl Line {
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }
}

/// Whether `bytes` are one line, ended or not: known sooner than by cutting it out.
pub(crate) fn is_one_line(bytes: &[u8]) -> bool {
    first_newline(bytes).is_none_or(|at| at + 1 == bytes.len())
}

/// The lines of one chunk, in order and without gaps.
pub(crate) struct Lines<'a> {
    chunk: &'a [u8],
    /// Where the next line begins.
    start: usize,
    /// The newlines not yet used of the block at `block`.
    bits: u64,
    block: usize,
    /// The first byte not yet searched.
    next_block: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(chunk: &'a [u8]) -> Self {
        Self { chunk, start: 0, bits: 0, block: 0, next_block: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    #[inline]
    fn next(&mut self) -> Option<Line> {
        while self.bits == 0 {
            let mut rest = self.chunk.get(self.next_block..).unwrap_or_default();
            if self.next_block >= self.start + LONG_BYTES {
                let skipped = first_newline(rest).unwrap_or(rest.len());
                self.next_block += skipped;
                rest = rest.get(skipped..).unwrap_or_default();
            }
            self.bits = match rest.first_chunk::<BLOCK_BYTES>() {
                Some(block) => newline_bits(block),
                None if !rest.is_empty() => {
                    let mut block = [0; BLOCK_BYTES];
                    if let Some(place) = block.get_mut(..rest.len()) {
                        place.copy_from_slice(rest);
                    }
                    newline_bits(&block)
                }
                None if self.start < self.chunk.len() => {
                    let line = Line { start: self.start, end: self.chunk.len(), ended: false };
                    self.start = line.end;
                    return Some(line);
                }
                None => return None,
            };
            self.block = self.next_block;
            self.next_block += BLOCK_BYTES;
        }
        let end = self.block + self.bits.trailing_zeros() as usize + 1;
        self.bits &= self.bits - 1;
        let line = Line { start: self.start, end, ended: true };
        self.start = end;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pieces(chunk: &[u8]) -> Vec<&[u8]> {
        let lines: Vec<Line> = Lines::new(chunk).collect();
        for line in &lines {
            assert_eq!(line.ended, chunk[line.end - 1] == b'\n');
        }
        lines.iter().map(|line| &chunk[line.start..line.end]).collect()
    }

    #[rstest]
    #[case::nothing(b"", &[])]
    #[case::one_line(b"a\n", &[b"a\n".as_slice()])]
    #[case::empty_lines(b"\n\n", &[b"\n".as_slice(), b"\n"])]
    #[case::remainder(b"a\nbc", &[b"a\n".as_slice(), b"bc"])]
    #[case::only_a_remainder(b"a\r\0", &[b"a\r\0".as_slice()])]
    fn cuts_behind_each_newline(#[case] chunk: &[u8], #[case] expected: &[&[u8]]) {
        assert_eq!(pieces(chunk), expected);
    }

    #[test]
    fn one_line_is_known_without_cutting_it_out() {
        for chunk in ["", "a", "a\n", "\n", "a\nb", "\n\n", "a\nb\n"] {
            let expected = Lines::new(chunk.as_bytes()).count() <= 1;
            assert_eq!(is_one_line(chunk.as_bytes()), expected, "{chunk:?}");
        }
    }

    #[test]
    fn finds_every_line_wherever_it_lies_in_its_block() {
        for length in (0..200).chain(400..410) {
            for at in 0..length {
                let mut chunk = vec![b'x'; length];
                chunk[at] = b'\n';
                let expected: Vec<&[u8]> = chunk.split_inclusive(|byte| *byte == b'\n').collect();
                assert_eq!(pieces(&chunk), expected, "newline {at} of {length}");
            }
        }
    }

    #[test]
    fn finds_short_lines_between_long_ones() {
        for long in 250..400 {
            let line = [vec![b'x'; long], b"\n\nab\n".to_vec()].concat();
            let chunk = [line.repeat(3), vec![b'y'; long]].concat();
            let expected: Vec<&[u8]> = chunk.split_inclusive(|byte| *byte == b'\n').collect();
            assert_eq!(pieces(&chunk), expected, "{long} bytes");
        }
    }
}
