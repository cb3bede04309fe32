//! Log files: every line, with its time checked before it is taken out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::observation::LogSeen;
use crate::text::escape;

/// Nanoseconds since the epoch.
type Instant = i128;

/// Reads one log file. `from` and `to` bound the times that can be right.
pub fn read(path: &Path, from: Instant, to: Instant) -> Option<LogSeen> {
    let bytes = fs::read(path).ok()?;
    let metadata = fs::metadata(path).ok()?;
    let mut seen = parse(&bytes, from, to);
    seen.mode = format!("{:04o} {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    Some(seen)
}

/// The lines of a log with their times taken out, unchecked; none where a line is none of a log.
pub fn without_times(bytes: &[u8]) -> Option<String> {
    let lines = bytes.split_inclusive(|b| *b == b'\n');
    let shown = lines.map(|line| Parts::of(line).map(|parts| parts.shown()));
    shown.collect::<Option<String>>().filter(|text| !text.is_empty())
}

fn parse(bytes: &[u8], from: Instant, to: Instant) -> LogSeen {
    let mut seen = LogSeen::default();
    let mut text: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut last: Option<Instant> = None;
    for (number, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let Some(parts) = Parts::of(line) else {
            seen.lines.push(behind_a_hole(line).unwrap_or_else(|| escape(line)));
            continue;
        };
        let complaint = match parts.instant {
            t if t < from => Some("before the run began"),
            t if t > to => Some("in the future"),
            t if last.is_some_and(|last| t < last) => Some("before the line above"),
            _ => None,
        };
        if let Some(complaint) = complaint {
            seen.bad_times.push(format!("line {}: {complaint}", number + 1));
        }
        match (last == Some(parts.instant), seen.chunks.last_mut()) {
            (true, Some(count)) => *count += 1,
            _ => seen.chunks.push(1),
        }
        last = Some(parts.instant);
        seen.lines.push(parts.shown());
        let (stream, whole, content) = parts.content();
        let stream = text.entry(stream).or_default();
        stream.extend_from_slice(content);
        if whole {
            stream.push(b'\n');
        }
    }
    seen.text = text.into_iter().map(|(stream, bytes)| (stream, escape(&bytes))).collect();
    seen
}

/// A line behind the hole that a writer leaves whose file somebody else has truncated; its time is
/// as different from run to run as any.
fn behind_a_hole(line: &[u8]) -> Option<String> {
    let (hole, line) = line.split_at(line.iter().take_while(|byte| **byte == 0).count());
    Some(escape(hole) + &Parts::of(line)?.shown())
}

/// One line, taken apart.
struct Parts<'a> {
    instant: Instant,
    zone: &'a str,
    /// From the blank behind the time on.
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// None when the time is not exactly `2024-01-31T23:59:59.123456789+00:00`.
    fn of(line: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = line.split_at_checked(35)?;
        let stamp = std::str::from_utf8(stamp).ok()?;
        let shape: String =
            stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        let zone = stamp.get(29..)?;
        let positive = "9999-99-99T99:99:99.999999999+99:99";
        if !(shape == positive || shape == positive.replace('+', "-"))
            || rest.first() != Some(&b' ')
        {
            return None;
        }
        let number = |range: std::ops::Range<usize>| stamp.get(range)?.parse::<i128>().ok();
        let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
        let seconds =
            days * 86400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        let offset = number(30..32)? * 3600 + number(33..35)? * 60;
        let offset = if zone.starts_with('-') { -offset } else { offset };
        let instant = (seconds - offset) * 1_000_000_000 + number(20..29)?;
        Some(Self { instant, zone, rest })
    }

    /// The line with its time taken out.
    fn shown(&self) -> String {
        format!("[TIME{}]{}", self.zone, escape(self.rest))
    }

    /// The stream, whether the line is whole, and its content.
    fn content(&self) -> (String, bool, &'a [u8]) {
        let body = self.rest.get(1..).unwrap_or_default();
        let mut words = body.splitn(3, |b| *b == b' ');
        let stream = escape(words.next().unwrap_or_default());
        let tag = words.next().unwrap_or_default();
        let content = words.next().unwrap_or_default();
        (stream, tag == b"F", content.strip_suffix(b"\n").unwrap_or(content))
    }
}

/// Days since the epoch. Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_from_civil(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_the_time_out_and_joins_partial_lines() {
        let log = b"2024-01-31T23:59:59.000000001+01:00 stdout P abc\n\
                    2024-01-31T23:59:59.000000001+01:00 stdout F  d\n\
                    2024-01-31T23:59:58.000000001+01:00 stderr F \n";
        let seen = parse(log, 0, Instant::MAX);
        assert_eq!(
            seen.lines,
            [
                "[TIME+01:00] stdout P abc\\n",
                "[TIME+01:00] stdout F  d\\n",
                "[TIME+01:00] stderr F \\n"
            ]
        );
        assert_eq!(seen.text["stdout"], "abc d\\n");
        assert_eq!(seen.chunks, [2, 1]);
        assert_eq!(seen.bad_times, ["line 3: before the line above"]);
    }

    #[test]
    fn a_hole_in_front_of_a_line_is_shown_and_its_time_is_not() {
        let log = b"\x00\x002024-01-31T23:59:59.000000001+01:00 stdout F abc\n\0\n";
        let seen = parse(log, 0, Instant::MAX);
        assert_eq!(seen.lines, ["\\x00\\x00[TIME+01:00] stdout F abc\\n", "\\x00\\n"]);
    }

    #[test]
    fn a_malformed_time_stays() {
        let log = b"2024-01-31T23:59:59.001+01:00 stdout F abc\n";
        assert_eq!(parse(log, 0, 1).lines, ["2024-01-31T23:59:59.001+01:00 stdout F abc\\n"]);
    }

    #[test]
    fn a_log_elsewhere_is_shown_without_its_times_and_nothing_else_is_taken_for_one() {
        let lines = b"2024-01-31T23:59:59.000000001+01:00 stdout P abc\n\
                      2024-01-31T23:59:59.000000002-01:00 stderr F d\n";
        let expected = "[TIME+01:00] stdout P abc\\n[TIME-01:00] stderr F d\\n";
        assert_eq!(without_times(lines).as_deref(), Some(expected));
        assert_eq!(without_times(b""), None);
        assert_eq!(without_times(&lines[..30]), None);
        assert_eq!(without_times(&[&lines[..], b"30007"].concat()), None);
    }

    #[test]
    fn knows_the_calendar() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11017);
        let line = b"1970-01-02T01:00:00.000000005+01:00 stdout F x\n";
        assert_eq!(Parts::of(line).unwrap().instant, 86_400_000_000_005);
    }
}
