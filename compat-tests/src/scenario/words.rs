//! The words of a step, quoted as in a shell, and what several steps read from them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::text::unescape;

/// The words of one step, taken from the left.
pub(super) struct Words {
    words: VecDeque<Vec<u8>>,
}

impl Words {
    /// Splits a line.
    ///
    /// # Errors
    ///
    /// A quote or an escape that is wrong.
    pub(super) fn of(line: &str) -> Result<Self, String> {
        Ok(Self { words: split(line)?.into() })
    }

    pub(super) fn bytes(&mut self, what: &str) -> Result<Vec<u8>, String> {
        self.words.pop_front().ok_or_else(|| format!("{what} is missing"))
    }

    /// Bytes, or `COUNT x BYTES` for many.
    pub(super) fn many_bytes(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let first = self.bytes(what)?;
        let count = std::str::from_utf8(&first).ok().and_then(|text| text.parse::<usize>().ok());
        match (count, self.words.front().map(Vec::as_slice)) {
            (Some(count), Some(b"x")) if self.words.len() > 1 => {
                self.words.pop_front();
                Ok(self.bytes("what to repeat")?.repeat(count))
            }
            _ => Ok(first),
        }
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String, String> {
        String::from_utf8(self.bytes(what)?).map_err(|_| format!("{what} is not text"))
    }

    pub(super) fn optional(&mut self) -> Result<Option<String>, String> {
        if self.words.is_empty() { Ok(None) } else { self.text("word").map(Some) }
    }

    /// The optional name of a monitor, possibly behind a `to`, `of` or `from`.
    pub(super) fn monitor(&mut self) -> Result<String, String> {
        match self.optional()? {
            Some(word) if matches!(word.as_str(), "to" | "of" | "from") => self.text("monitor"),
            Some(word) => Ok(word),
            None => Ok("main".into()),
        }
    }

    pub(super) fn count(&mut self, default: usize) -> Result<usize, String> {
        match self.words.front().map(|w| String::from_utf8_lossy(w).parse::<usize>()) {
            Some(Ok(count)) => {
                self.words.pop_front();
                Ok(count)
            }
            _ => Ok(default),
        }
    }

    pub(super) fn rest(&mut self) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        while let Some(word) = self.optional()? {
            all.push(word);
        }
        Ok(all)
    }

    pub(super) fn end(&self) -> Result<(), String> {
        match self.words.front() {
            None => Ok(()),
            Some(word) => Err(format!("`{}` is one word too many", String::from_utf8_lossy(word))),
        }
    }

    /// Takes a trailing `up-to SECONDS` away.
    pub(super) fn bound(&mut self) -> Result<Option<Duration>, String> {
        let Some(at) = self.words.iter().position(|w| w == b"up-to") else { return Ok(None) };
        let tail: Vec<Vec<u8>> = self.words.drain(at..).collect();
        let [_, bound] = tail.as_slice() else {
            return Err("write `up-to 1.5` (seconds) at the end".into());
        };
        let seconds = String::from_utf8_lossy(bound).trim_end_matches('s').parse::<f64>();
        match seconds {
            Ok(seconds) if seconds > 0.0 && seconds < 600.0 => {
                Ok(Some(Duration::from_secs_f64(seconds)))
            }
            _ => Err("`up-to` needs a number of seconds".into()),
        }
    }
}

/// Splits a line into words; double quotes group and allow escapes, single quotes group.
fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        loop {
            match rest.chars().next() {
                None => break,
                Some(c) if c.is_whitespace() => break,
                Some('"') => {
                    let body = &rest[1..];
                    let end = closing_quote(body).ok_or("a quote is not closed")?;
                    word.extend(unescape(&body[..end])?);
                    rest = &body[end + 1..];
                }
                Some('\'') => {
                    let body = &rest[1..];
                    let end = body.find('\'').ok_or("a quote is not closed")?;
                    word.extend_from_slice(&body.as_bytes()[..end]);
                    rest = &body[end + 1..];
                }
                Some(_) => {
                    let end = rest
                        .find(|c: char| c.is_whitespace() || c == '"' || c == '\'')
                        .unwrap_or(rest.len());
                    word.extend(unescape(&rest[..end])?);
                    rest = &rest[end..];
                }
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Ok(words)
}

fn closing_quote(body: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}
