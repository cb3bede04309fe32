//! Random numbers, for names that nobody else has taken.

/// Numbers that no other process is likely to get, whatever the kernel refuses.
///
/// Not the standard library's random state, which panics where getrandom(2) fails.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is valid for its whole length, of which no more is written.
    let filled =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if filled == 8 { u64::from_ne_bytes(bytes) } else { improvised() }
}

/// The moment, this process and a place in its memory, well stirred.
fn improvised() -> u64 {
    let now = super::time::realtime();
    let place = std::ptr::from_ref(&now).addr() as u64;
    let seed = u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(30);
    let seed = seed ^ u64::from(std::process::id()).rotate_left(44) ^ place.rotate_left(17);
    // The finaliser of splitmix64.
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_numbers_are_the_same() {
        for generator in [number, improvised] {
            let mut numbers: Vec<u64> = (0..100).map(|_| generator()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 100);
        }
    }
}
