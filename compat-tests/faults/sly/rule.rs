//! Rules: `HOOK CONDITION... ACTION...`, words separated by blanks, `\s` for a blank in one.
//!
//! Conditions: `if=WORD` and `unless=WORD` (an argument of the monitor), `path=GLOB`,
//! `has=`, `lacks=`, `starts=`, `ends=`, `is=` (content), `longer=N`, `nth=N`, `after=N` (of the
//! calls that fit otherwise), `exists=PATH` and `missing=PATH`. Actions are the hook's own; those that change content are
//! `from=` with `to=`, `add=`, `before=`, `cut=N`, `keep=N`, `twice`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const MONITOR: &str = "/run/compat/bin/conmon";
const FAULT: &str = "/run/compat-fault";

pub struct Rule {
    hook: String,
    words: Vec<(String, Vec<u8>)>,
    seen: AtomicUsize,
}

/// What this library reads itself is read while this is set, and passes through.
static READING: AtomicBool = AtomicBool::new(false);

/// The rules of this process; none where nothing is to be broken.
pub fn all() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    if let Some(rules) = RULES.get() {
        return if READING.load(Ordering::Relaxed) { &[] } else { rules };
    }
    if READING.swap(true, Ordering::Relaxed) {
        return &[];
    }
    let rules = RULES.get_or_init(read_rules);
    READING.store(false, Ordering::Relaxed);
    rules
}

fn read_rules() -> Vec<Rule> {
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    if program.as_os_str() != MONITOR {
        return Vec::new();
    }
    let text = std::fs::read_to_string(FAULT).unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

fn parse(line: &str) -> Rule {
    let mut parts = line.split_whitespace();
    let hook = parts.next().unwrap_or_default().to_string();
    let words = parts
        .map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_string(), unescape(value))
        })
        .collect();
    Rule { hook, words, seen: AtomicUsize::new(0) }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b's') => out.push(b' '),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b'x') => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("0");
                out.push(u8::from_str_radix(digits, 16).unwrap_or(0));
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
    out
}

fn arguments() -> &'static [Vec<u8>] {
    static ARGUMENTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ARGUMENTS.get_or_init(|| {
        READING.store(true, Ordering::Relaxed);
        let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
        READING.store(false, Ordering::Relaxed);
        line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    })
}

/// The first rule of this hook that fits.
pub fn find(hook: &str, path: &str, content: &[u8]) -> Option<&'static Rule> {
    all().iter().find(|rule| rule.hook == hook && rule.fits(path, content))
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

/// `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Rule {
    pub fn has(&self, key: &str) -> bool {
        self.words.iter().any(|(name, _)| name == key)
    }

    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.words.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    pub fn word(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Decimal, or octal with a leading zero.
    pub fn number(&self, key: &str) -> Option<usize> {
        let word = self.word(key)?;
        match word.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => usize::from_str_radix(octal, 8).ok(),
            _ => word.parse().ok(),
        }
    }

    fn fits(&self, path: &str, content: &[u8]) -> bool {
        let mut of_path_and_content = self.words.iter().all(|(key, value)| {
            let word = || std::str::from_utf8(value).unwrap_or_default();
            match key.as_str() {
                "if" => arguments().contains(value),
                "unless" => !arguments().contains(value),
                "path" => matches(word(), path),
                "is" => content == value.as_slice(),
                "has" => contains(content, value),
                "lacks" => !contains(content, value),
                "starts" => content.starts_with(value),
                "ends" => content.ends_with(value),
                "exists" => std::path::Path::new(word()).exists(),
                "missing" => !std::path::Path::new(word()).exists(),
                _ => true,
            }
        });
        of_path_and_content &= self.number("longer").is_none_or(|length| content.len() > length);
        if !of_path_and_content {
            return false;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        self.number("nth").is_none_or(|nth| seen == nth)
            && self.number("after").is_none_or(|after| seen > after)
    }

    /// What becomes of content.
    pub fn change(&self, content: &[u8]) -> Vec<u8> {
        let mut out = content.to_vec();
        if let (Some(from), Some(to)) = (self.value("from"), self.value("to")) {
            out = replace(&out, from, to);
        }
        if let Some(count) = self.number("cut") {
            out.truncate(out.len().saturating_sub(count));
        }
        if let Some(count) = self.number("keep") {
            out.truncate(count);
        }
        if let Some(end) = self.value("add") {
            out.extend_from_slice(end);
        }
        if let Some(start) = self.value("before") {
            out.splice(0..0, start.iter().copied());
        }
        if self.has("twice") {
            out = [out.as_slice(), &out].concat();
        }
        out
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !from.is_empty() && rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}
