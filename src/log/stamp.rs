//! The head of a k8s-file record: timestamp, stream and tag, in a fixed number of bytes.

use std::time::Duration;

use crate::stream::Stream;
use crate::sys;

/// `2025-11-21T22:37:47.123456789+01:00 stdout F `
pub(crate) const HEAD_BYTES: usize = 45;

const SECOND_BYTES: usize = 19;
const NANOS_AT: usize = SECOND_BYTES + 1;
const ZONE_AT: usize = NANOS_AT + 9;
const STREAM_AT: usize = ZONE_AT + 7;
const TAG_AT: usize = STREAM_AT + 7;

const BLANK: [u8; HEAD_BYTES] = *b"1970-01-01T00:00:00.000000000+00:00 stdout F ";

/// The two heads that the records of one chunk begin with.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) full: [u8; HEAD_BYTES],
    pub(crate) partial: [u8; HEAD_BYTES],
}

/// Writes heads; breaks a second down into local time only when it is a new one.
pub(crate) struct Stamp {
    second: Option<u64>,
    head: [u8; HEAD_BYTES],
}

impl Stamp {
    pub(crate) fn new() -> Self {
        Self { second: None, head: BLANK }
    }

    /// The heads of a chunk that was read from `stream` at `now`.
    pub(crate) fn heads(&mut self, stream: Stream, now: Duration) -> Heads {
        if self.second != Some(now.as_secs()) {
            self.second = Some(now.as_secs());
            if let Some(parts) = sys::time::local_time(now.as_secs()) {
                self.set_second(&parts);
            }
        }
        digits(self.head.get_mut(NANOS_AT..ZONE_AT), now.subsec_nanos());
        let name = match stream {
            Stream::Stdout => b"stdout",
            Stream::Stderr => b"stderr",
        };
        put(self.head.get_mut(STREAM_AT..TAG_AT - 1), name);
        let mut heads = Heads { full: self.head, partial: self.head };
        put(heads.partial.get_mut(TAG_AT..=TAG_AT), b"P");
        heads
    }

    /// Everything but the fraction of the second; a year beyond 9999 keeps its last digits.
    fn set_second(&mut self, parts: &libc::tm) {
        let year = i64::from(parts.tm_year) + 1900;
        digits(self.head.get_mut(0..4), u32::try_from(year).unwrap_or_default());
        for (at, value) in [
            (5, parts.tm_mon + 1),
            (8, parts.tm_mday),
            (11, parts.tm_hour),
            (14, parts.tm_min),
            (17, parts.tm_sec),
        ] {
            digits(self.head.get_mut(at..at + 2), value.unsigned_abs());
        }
        let sign = if parts.tm_gmtoff < 0 { b"-" } else { b"+" };
        put(self.head.get_mut(ZONE_AT..=ZONE_AT), sign);
        let minutes = u32::try_from(parts.tm_gmtoff.unsigned_abs() / 60).unwrap_or_default();
        digits(self.head.get_mut(ZONE_AT + 1..ZONE_AT + 3), minutes / 60);
        digits(self.head.get_mut(ZONE_AT + 4..ZONE_AT + 6), minutes % 60);
    }
}

fn put(place: Option<&mut [u8]>, text: &[u8]) {
    place.into_iter().flatten().zip(text).for_each(|(to, from)| *to = *from);
}

/// Fills `place` with the last decimal digits of `value`.
fn digits(place: Option<&mut [u8]>, mut value: u32) {
    for digit in place.into_iter().flatten().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parts(year: i32, gmtoff: libc::c_long) -> libc::tm {
        // Starts from the epoch, because the structure has private fields.
        let mut parts = sys::time::local_time(0).unwrap();
        parts.tm_year = year - 1900;
        parts.tm_mon = 10;
        parts.tm_mday = 2;
        parts.tm_hour = 3;
        parts.tm_min = 4;
        parts.tm_sec = 60;
        parts.tm_gmtoff = gmtoff;
        parts
    }

    #[rstest]
    #[case::utc(0, "+00:00")]
    #[case::east(5 * 3600 + 30 * 60, "+05:30")]
    #[case::west(-(3 * 3600 + 30 * 60), "-03:30")]
    #[case::odd_seconds_are_dropped(-17_776, "-04:56")]
    fn offset_is_always_numeric(#[case] gmtoff: libc::c_long, #[case] zone: &str) {
        let mut stamp = Stamp::new();
        stamp.set_second(&parts(2025, gmtoff));
        let expected = format!("2025-11-02T03:04:60.000000000{zone} stdout F ");
        assert_eq!(String::from_utf8_lossy(&stamp.head), expected);
    }

    #[test]
    fn heads_differ_in_tag_and_stream_only() {
        let mut stamp = Stamp::new();
        let now = Duration::new(1_700_000_000, 12_345);
        let out = stamp.heads(Stream::Stdout, now);
        let err = stamp.heads(Stream::Stderr, now);
        let text = |head: &[u8]| String::from_utf8(head.to_vec()).unwrap();
        assert!(text(&out.full).contains(".000012345"), "{}", text(&out.full));
        assert!(text(&out.full).ends_with(" stdout F "));
        assert!(text(&out.partial).ends_with(" stdout P "));
        assert_eq!(text(&err.full), text(&out.full).replace("stdout", "stderr"));
        assert_eq!(text(&err.partial), text(&out.partial).replace("stdout", "stderr"));
    }

    #[test]
    fn years_beyond_2038_are_written_as_they_are() {
        let heads = Stamp::new().heads(Stream::Stdout, Duration::from_secs(4_102_531_200));
        assert_eq!(&heads.full[..6], b"2100-0");
    }

    #[test]
    fn follows_the_clock_from_second_to_second_and_back() {
        let mut stamp = Stamp::new();
        let mut second = |second| {
            let heads = stamp.heads(Stream::Stdout, Duration::from_secs(second));
            heads.full[17..19].to_vec()
        };
        assert_eq!(second(1_700_000_000), b"20");
        assert_eq!(second(1_700_000_001), b"21");
        assert_eq!(second(1_700_000_000), b"20");
    }
}
