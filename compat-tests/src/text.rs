//! Bytes as text and back, and the globs that name observations.
//!
//! Everything observed is stored as text in which printable ASCII and valid UTF-8 stand for
//! themselves and every other byte is an escape, so a record is readable and loses nothing.
//!
//! The globs are our own because globset's separator is a path's: here a dot ends what `*` may
//! stand for.

/// Writes bytes as text: `\n`, `\t`, `\xNN` and `\\` for what would not survive as itself.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                    out.push_str(&format!("\\x{:02x}", c as u32));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Turns the escapes of [`escape`], and `\"`, `\0`, `\e`, back into bytes.
///
/// # Errors
///
/// The offending escape, when it is none of these.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            let mut buffer = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('t') => out.push(b'\t'),
            Some('0') => out.push(0),
            Some('e') => out.push(0x1b),
            Some('\\') => out.push(b'\\'),
            Some('"') => out.push(b'"'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 2)
                    .ok_or_else(|| format!("`\\x{digits}` is not a byte"))?;
                out.push(byte);
            }
            Some(other) => return Err(format!("unknown escape `\\{other}`")),
            None => return Err("a lone backslash at the end".into()),
        }
    }
    Ok(out)
}

/// 64 bits that tell two texts apart, in hexadecimal digits. Source: FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub fn fnv(bytes: &[u8]) -> String {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Says whether `text` fits `pattern`: `*` stands for anything without `separator`, `**` for
/// anything at all, `?` for one character. The separator is an ASCII character.
pub fn glob(pattern: &str, text: &str, separator: char) -> bool {
    let separator = u8::try_from(separator).unwrap_or_default();
    fits(pattern.as_bytes(), text.as_bytes(), separator, &|rest| rest.is_empty())
}

/// Says whether an observation path fits a pattern, or lies inside what the pattern names.
pub fn names(pattern: &str, path: &str) -> bool {
    let end = |rest: &[u8]| matches!(rest, [] | [b'.', ..]);
    fits(pattern.as_bytes(), path.as_bytes(), b'.', &end)
}

/// Whether a text fits a pattern so far that `end` says yes to what is left of it. It is asked millions of times in a run, so it
/// works on bytes: only `?` has to know where a character of several ends.
fn fits(mut pattern: &[u8], mut text: &[u8], separator: u8, end: &dyn Fn(&[u8]) -> bool) -> bool {
    loop {
        let (rest, longest) = match (pattern, text) {
            ([], _) => return end(text),
            ([b'*', b'*', rest @ ..], _) => (rest, text.len()),
            ([b'*', rest @ ..], _) => {
                (rest, text.iter().position(|byte| *byte == separator).unwrap_or(text.len()))
            }
            ([b'?', rest @ ..], [_, more @ ..]) => {
                let inside = more.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
                (pattern, text) = (rest, &more[inside..]);
                continue;
            }
            ([first, rest @ ..], [same, more @ ..]) if first == same => {
                (pattern, text) = (rest, more);
                continue;
            }
            _ => return false,
        };
        let literal = rest.first().filter(|byte| !matches!(byte, b'*' | b'?'));
        return (0..=longest).any(|at| {
            let tail = &text[at..];
            (literal.is_none() || literal == tail.first()) && fits(rest, tail, separator, end)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_loses_nothing() {
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&every_byte)).unwrap(), every_byte);
        assert_eq!(escape("a\u{201c}b\\\n".as_bytes()), "a\u{201c}b\\\\\\n");
    }

    #[test]
    fn sums_are_those_of_fnv() {
        assert_eq!(fnv(b""), "cbf29ce484222325");
        assert_eq!(fnv(b"a"), "af63dc4c8601ec8c");
        assert_eq!(fnv(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn refuses_an_unknown_escape() {
        assert!(unescape("a\\q").unwrap_err().contains("\\q"));
        assert!(unescape("\\x1").is_err());
    }

    #[test]
    fn one_star_stays_inside_a_segment() {
        assert!(glob("exec/*", "exec/one", '/'));
        assert!(!glob("exec/*", "exec/one/two", '/'));
        assert!(glob("**", "exec/one/two", '/'));
        assert!(!glob("a.*.c", "a.b.x.c", '.'));
    }

    #[test]
    fn a_pattern_covers_what_is_inside() {
        assert!(names("monitors.*.launch", "monitors.main.launch.stderr"));
        assert!(!names("monitors.*.launch", "monitors.main.launched"));
    }

    /// What the words of [`glob`] mean, character by character.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', '*', rest @ ..] => (0..=text.len()).any(|n| plainly(rest, &text[n..])),
            ['*', rest @ ..] => {
                let longest = text.iter().position(|c| *c == '.').unwrap_or(text.len());
                (0..=longest).any(|n| plainly(rest, &text[n..]))
            }
            ['?', rest @ ..] => !text.is_empty() && plainly(rest, &text[1..]),
            [c, rest @ ..] => text.first() == Some(c) && plainly(rest, &text[1..]),
        }
    }

    /// Every text of these characters, up to a length.
    fn texts(of: &[char], length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            let longer = last.iter().flat_map(|text| of.iter().map(move |c| format!("{text}{c}")));
            last = longer.collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn globs_mean_what_is_said_of_them() {
        let all = texts(&['a', '.', '\u{e9}'], 4);
        for pattern in texts(&['a', '.', '*', '?', '\u{e9}'], 4) {
            let chars: Vec<char> = pattern.chars().collect();
            let inside: Vec<char> = format!("{pattern}.**").chars().collect();
            for text in &all {
                let split: Vec<char> = text.chars().collect();
                let plain = plainly(&chars, &split);
                assert_eq!(glob(&pattern, text, '.'), plain, "{pattern} {text}");
                let named = plain || plainly(&inside, &split);
                assert_eq!(names(&pattern, text), named, "{pattern} {text}");
            }
        }
    }
}
