//! Container logs, read as kubelet and ExecSync read them.

use std::path::Path;

use crate::observe::logs;
use crate::text::escape;

/// A log taken apart by the rules of the CRI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Line by line.
    pub lines: Vec<Line>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// What kubelet would complain about.
    pub problems: Vec<String>,
}

/// One line without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `stdout F`
    pub head: &'static str,
    pub content: Vec<u8>,
}

impl Line {
    /// The line as it is written, with escapes.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.head, escape(&self.content))
    }

    /// A line that goes on in the next one.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.head.ends_with('P')
    }
}

/// Longer logs are not looked at for their times: that takes too long.
const MOST_TIMED: usize = 1 << 20;

impl Log {
    /// Reads a file; a missing one has no lines.
    #[must_use]
    pub fn read(path: &Path, began: i128, now: i128) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut log = parse(&bytes);
        if bytes.len() > MOST_TIMED {
            return log;
        }
        if let Some(seen) = logs::read(path, began, now) {
            let odd = seen.lines.iter().filter(|line| !line.starts_with("[TIME"));
            log.problems.extend(odd.map(|line| format!("malformed time: {line}")));
            log.problems.extend(seen.bad_times);
        }
        log
    }

    /// The lines as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().map(Line::text).collect::<Vec<_>>().join(" | ")
    }

    /// The last line as text.
    #[must_use]
    pub fn last(&self) -> String {
        self.lines.last().map(Line::text).unwrap_or_default()
    }

    /// How many lines go on in the next one.
    #[must_use]
    pub fn partial(&self) -> usize {
        self.lines.iter().filter(|line| line.is_partial()).count()
    }

    /// The complaints as one text.
    #[must_use]
    pub fn complaints(&self) -> String {
        if self.problems.is_empty() { "none".to_owned() } else { self.problems.join("; ") }
    }
}

fn parse(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (_time, stream, tag) = (words.next(), words.next(), words.next());
        let (Some(stream), Some(tag), Some(content)) = (stream, tag, words.next()) else {
            log.problems.push(format!("too short: {}", escape(line)));
            continue;
        };
        let Some(text) = content.strip_suffix(b"\n") else {
            log.problems.push(format!("no end: {}", escape(line)));
            continue;
        };
        let (text_of, head) = match (stream, tag) {
            (b"stdout", b"P") => (&mut log.stdout, "stdout P"),
            (b"stdout", b"F") => (&mut log.stdout, "stdout F"),
            (b"stderr", b"P") => (&mut log.stderr, "stderr P"),
            (b"stderr", b"F") => (&mut log.stderr, "stderr F"),
            _ => {
                log.problems.push(format!("{} {}", escape(stream), escape(tag)));
                continue;
            }
        };
        text_of.extend_from_slice(if tag == b"P" { text } else { content });
        log.lines.push(Line { head, content: text.to_vec() });
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_partial_lines_and_keeps_the_streams_apart() {
        let log = parse(b"T stdout P ab\nT stderr F x y\nT stdout F \n");
        assert_eq!(log.stdout, b"ab\n");
        assert_eq!(log.stderr, b"x y\n");
        assert_eq!(log.text(), "stdout P ab | stderr F x y | stdout F ");
        assert!(log.problems.is_empty());
    }

    #[test]
    fn complains_about_what_kubelet_refuses() {
        let log = parse(b"T stdout\nT stdin F x\nT stdout X y\nT stdout F torn");
        assert_eq!(log.problems.len(), 4, "{:?}", log.problems);
    }
}
