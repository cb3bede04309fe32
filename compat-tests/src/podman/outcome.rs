//! What came of a case, with run-to-run values named, and how two of them are compared.

use std::collections::BTreeMap;
use std::path::Path;

use regex_lite::{Captures, Regex};
use serde_json::json;

use super::case::Case;
use super::script::{End, Finished};
use crate::verdict::{Seen, Unmet};

/// Everything a user of Podman could have noticed, as fields: `end` (`exited N`, `timed out`), `stdout` and `stderr` by lines, and
/// in `left` the monitors that were still there after all containers had been removed. Names what differs from run to run, and
/// nothing else. Expected lines that are not there had to be.
#[must_use]
pub fn seen(
    case: &Case,
    finished: &Finished,
    left: Vec<String>,
    world: &Path,
    monitor: &Path,
) -> Seen {
    let end = match finished.end {
        End::Exited(status) => format!("exited {status}"),
        End::TimedOut => "timed out".to_owned(),
        End::Stopped => "stopped".to_owned(),
    };
    let mut names = Names::default();
    let mut text = |bytes: &[u8]| {
        let text = escape(bytes)
            .replace(&world.display().to_string(), "[WORLD]")
            .replace(&monitor.display().to_string(), "[CONMON]");
        let mut text = names.apply(&text);
        for mask in &case.mask {
            if let Ok(pattern) = Regex::new(&mask.pattern) {
                let name = format!("[{}]", mask.name);
                text = pattern.replace_all(&text, regex_lite::NoExpand(&name)).into_owned();
            }
        }
        if case.any_order { sorted(&text) } else { text }
    };
    let (stdout, stderr) = (text(&finished.stdout), text(&finished.stderr));
    let missing = |line: &&String| !stdout.lines().any(|found| found == *line);
    let unmet = case.expect.iter().filter(missing);
    let unmet = unmet.map(|line| Unmet {
        path: "stdout".to_owned(),
        text: format!(
            "the line `{line}` is missing; it ended so: {end}, {}",
            tail(&stdout, &stderr)
        ),
    });
    Seen {
        unmet: unmet.collect(),
        value: json!({"end": end, "stdout": lines(&stdout), "stderr": lines(&stderr), "left": left}),
    }
}

/// Text as lines, each with its line feed, so that one that lacks it differs.
fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(|line| line.replace('\n', "\\n")).collect()
}

/// The last of what was said, to see why a line is missing.
fn tail(stdout: &str, stderr: &str) -> String {
    let last = |text: &str| {
        let from = text.lines().count().saturating_sub(20);
        text.lines().skip(from).map(|line| format!("\n  {line}")).collect::<String>()
    };
    format!("stdout:{}\nstderr:{}", last(stdout), last(stderr))
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

/// Printable text as it is, line feeds too; everything else as an escape, so that a diff shows it.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\n' || !character.is_control() {
                text.push(character);
            } else {
                text.extend(character.escape_default());
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// One value, one name: that two ids are the same is compared, which they are is not.
#[derive(Default)]
struct Names {
    ids: BTreeMap<String, usize>,
}

impl Names {
    fn apply(&mut self, text: &str) -> String {
        let Ok(id) = Regex::new(r"\b[0-9a-f]{12}([0-9a-f]{52})?\b") else { return text.to_owned() };
        let text = id.replace_all(text, |found: &Captures| {
            let full = found.get(0).map_or("", |matched| matched.as_str());
            // Twelve decimal digits are more likely a number than an id.
            if full.len() == 12 && full.bytes().all(|byte| byte.is_ascii_digit()) {
                return full.to_owned();
            }
            let next = self.ids.len() + 1;
            let number = *self.ids.entry(full[..12].to_owned()).or_insert(next);
            if full.len() == 12 { format!("[SHORT-ID-{number}]") } else { format!("[ID-{number}]") }
        });
        let time =
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?([+-]\d\d:?\d\d|Z)( [A-Z]{3,4})?)?";
        match Regex::new(time) {
            Ok(time) => time.replace_all(&text, "[TIME]").into_owned(),
            Err(_) => text.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        Names::default().apply(text)
    }

    #[test]
    fn names_the_same_id_alike_in_both_lengths() {
        let long = "0123456789abcdef".repeat(4);
        assert_eq!(
            name(&format!("{long} 0123456789ab ffffffffffff")),
            "[ID-1] [SHORT-ID-1] [SHORT-ID-2]"
        );
    }

    #[test]
    fn leaves_numbers_and_other_hexadecimal_words_alone() {
        assert_eq!(
            name("123456789012 deadbeef 0123456789abc"),
            "123456789012 deadbeef 0123456789abc"
        );
    }

    #[test]
    fn names_times_of_every_form() {
        assert_eq!(name("2026-01-02T03:04:05.123456789+01:00 x"), "[TIME] x");
        assert_eq!(name("at 2026-01-02 03:04:05.1 +0000 UTC."), "at [TIME].");
        assert_eq!(name("2026-01-02"), "2026-01-02");
    }

    #[test]
    fn escapes_what_cannot_be_seen() {
        assert_eq!(escape(b"a\r\n\xff\x1b"), "a\\r\n\\xff\\u{1b}");
    }

    #[test]
    fn a_missing_line_feed_is_seen() {
        assert_eq!(lines("a\nb"), ["a\\n", "b"]);
        assert_ne!(lines("a\n"), lines("a"));
        assert!(lines("").is_empty());
    }
}
