//! Finding the newlines of a block of bytes: the inner loop of every log driver.

/// How many bytes are searched at once.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Bit `i` of the result is set when byte `i` of `block` is a newline.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn newline_bits(block: &[u8; BLOCK_BYTES]) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    };
    let bits = |lane: usize| {
        // SAFETY: SSE2 belongs to every x86-64, and `lane` is 0 to 3 below, so that the 16
        // bytes loaded (from any alignment) lie within the block.
        let mask = unsafe {
            let newline = _mm_set1_epi8(b'\n' as i8);
            let bytes = _mm_loadu_si128(block.as_ptr().cast::<__m128i>().add(lane));
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, newline))
        };
        u64::from(mask as u32)
    };
    bits(0) | bits(1) << 16 | bits(2) << 32 | bits(3) << 48
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::newline_bits;

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::BLOCK_BYTES;

    /// Bit `i` of the result is set when byte `i` of `block` is a newline.
    #[inline]
    pub(crate) fn newline_bits(block: &[u8; BLOCK_BYTES]) -> u64 {
        const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        const NEWLINES: u64 = 0x0a0a_0a0a_0a0a_0a0a;
        let words = block.chunks_exact(8).filter_map(|word| word.first_chunk::<8>());
        words.enumerate().fold(0, |bits, (index, word)| {
            // A byte of `word` is zero where the block has a newline; its top bit ends up
            // set, all others clear, and no carry passes from one byte to the next.
            let word = u64::from_le_bytes(*word) ^ NEWLINES;
            let found = !(((word & LOW) + LOW) | word | LOW);
            // The multiplication gathers the eight top bits in the highest byte, in order.
            let gathered = (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits | gathered << (8 * index)
        })
    }
}

/// The place of the first newline in `bytes`, found as fast as the C library can.
///
/// Worth its call only where the newline is expected to be far away.
pub(crate) fn first_newline(bytes: &[u8]) -> Option<usize> {
    let start = bytes.as_ptr();
    // SAFETY: memchr reads at most `bytes.len()` bytes from the slice's start.
    let found = unsafe { libc::memchr(start.cast(), libc::c_int::from(b'\n'), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - start.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_newlines_is_found() {
        assert_eq!(first_newline(b""), None);
        assert_eq!(first_newline(&[b'x'; 300]), None);
        let mut bytes = [b'x'; 300];
        for at in (0..300).rev() {
            bytes[at] = b'\n';
            assert_eq!(first_newline(&bytes), Some(at));
        }
    }

    fn naive(block: &[u8; BLOCK_BYTES]) -> u64 {
        block.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(*byte == b'\n'))
    }

    #[test]
    fn both_searches_find_every_newline_and_nothing_else() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..2000 {
            let block: [u8; BLOCK_BYTES] = std::array::from_fn(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let byte = (state >> 33) as u8;
                // Newlines, their neighbours and bytes that differ in the top bit only.
                if round % 2 == 0 {
                    byte
                } else {
                    [0x0a, 0x0b, 0x09, 0x8a, 0, 0xff][byte as usize % 6]
                }
            });
            assert_eq!(newline_bits(&block), naive(&block), "{block:?}");
            assert_eq!(portable::newline_bits(&block), naive(&block), "{block:?}");
        }
    }
}
