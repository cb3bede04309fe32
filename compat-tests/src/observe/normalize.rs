//! The values that differ from run to run and are named instead. There are few:
//!
//! - pids become `[PID:main]`, `[PID:container]`, ... so that relations still compare. Pids of
//!   a world begin at 30000, so that no other number is taken for one;
//! - times in logs and syslog lines, checked first, become `[TIME+00:00]` (`observe/logs.rs`,
//!   `observe/datagrams.rs`);
//! - random parts of temporary names (`observe/watch.rs`) and inode numbers of pipes and
//!   sockets (`observe/records.rs`), and the same names where they occur in texts;
//! - the times that runtimes put into their messages (RFC 3339 in UTC, with a `Z`, which the
//!   monitor itself never writes) become `[TIME Z]`;
//! - the number in the name of a world's cgroup becomes `[WORLD]`.
//!
//! Paths need no rule: they are the same in every world.

use std::collections::BTreeMap;

use serde_json::Value;

/// Replaces what has a name in every text.
pub fn apply(value: &mut Value, pids: &BTreeMap<i32, String>) {
    match value {
        Value::String(text) => {
            if let Some(named) = name_in(text, pids) {
                *text = named;
            }
            name_console_sockets(text);
            name_temporary_files(text);
            name_utc_times(text);
            name_worlds(text);
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| apply(inner, pids)),
        Value::Object(map) => map.values_mut().for_each(|inner| apply(inner, pids)),
        _ => {}
    }
}

/// The random end of `conmon-term.XXXXXX`.
fn name_console_sockets(text: &mut String) {
    const NAME: &str = "/conmon-term.";
    let Some(at) = text.find(NAME) else { return };
    let start = at + NAME.len();
    let random = text.get(start..start + 6).map(str::to_string);
    if random.is_some_and(|r| r.chars().all(|c| c.is_ascii_alphanumeric())) {
        text.replace_range(start..start + 6, "XXXXXX");
    }
}

/// The random end of `“PATH.XXXXXX”`, as in messages about files that could not be written.
fn name_temporary_files(text: &mut String) {
    const CLOSING: char = '\u{201d}';
    let ends: Vec<usize> = text.match_indices(CLOSING).map(|(at, _)| at).collect();
    for end in ends {
        let Some(start) = end.checked_sub(6) else { continue };
        let random =
            |part: &str| part.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        let dotted = text.get(..start).is_some_and(|before| before.ends_with('.'));
        if dotted && text.get(start..end).is_some_and(random) {
            text.replace_range(start..end, "XXXXXX");
        }
    }
}

/// The number in `conmon-compat-1234`, the cgroup of a world.
fn name_worlds(text: &mut String) {
    const NAME: &str = "conmon-compat-";
    let ends: Vec<usize> = text.match_indices(NAME).map(|(at, _)| at + NAME.len()).collect();
    for start in ends.into_iter().rev() {
        let digits =
            text.get(start..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        if digits > 0 {
            text.replace_range(start..start + digits, "[WORLD]");
        }
    }
}

/// `2024-01-31T23:59:59Z`, with or without a fraction of the second.
fn name_utc_times(text: &mut String) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find('T')).map(|at| at + from) {
        from = at + 1;
        let Some(start) = at.checked_sub(10) else { continue };
        let Some(stamp) = text.get(start..start + 19) else { continue };
        let shape: String =
            stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        if shape != "9999-99-99T99:99:99" {
            continue;
        }
        let rest = text.get(start + 19..).unwrap_or_default();
        let fraction = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if rest.get(fraction..).is_some_and(|zone| zone.starts_with('Z')) {
            text.replace_range(start..start + 19 + fraction + 1, "[TIME Z]");
        }
    }
}

/// The text with every number that is a known pid named; none when there is none.
fn name_in(text: &str, pids: &BTreeMap<i32, String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        let inside_word = before.ends_with(|c: char| c.is_ascii_alphanumeric())
            || after.starts_with(|c: char| c.is_ascii_alphanumeric());
        match digits.parse().ok().and_then(|pid: i32| pids.get(&pid)) {
            Some(name) if !inside_word => {
                found = true;
                out.push_str(&format!("[PID:{name}]"));
            }
            _ => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_known_pids_and_nothing_else() {
        let pids = BTreeMap::from([(30007, "container".to_string())]);
        let mut value = json!({
            "report": "{\"data\": 30007}\\n",
            "part": "130007 30007x 30008",
            "text": "file 0644 0:0 \"30007\"",
        });
        apply(&mut value, &pids);
        assert_eq!(value["report"], "{\"data\": [PID:container]}\\n");
        assert_eq!(value["part"], "130007 30007x 30008");
        assert_eq!(value["text"], "file 0644 0:0 \"[PID:container]\"");
    }

    #[test]
    fn names_console_sockets_and_the_times_of_runtimes() {
        let mut value = json!([
            "/tmp/conmon-term.Ab12Cd",
            "time=\"2024-01-31T23:59:59Z\" 2024-01-31T23:59:59.5Z: x",
            "2024-01-31T23:59:59.123456789+00:00 stdout F Tx",
            "create file \u{201c}/x/pid.G0J3Y3\u{201d}: no, \u{201c}/x/pid.config\u{201d}",
            "/cg/conmon-compat-7/a and conmon-compat-812, conmon-compat-x",
        ]);
        apply(&mut value, &BTreeMap::new());
        assert_eq!(value[0], "/tmp/conmon-term.XXXXXX");
        assert_eq!(value[1], "time=\"[TIME Z]\" [TIME Z]: x");
        assert_eq!(value[2], "2024-01-31T23:59:59.123456789+00:00 stdout F Tx");
        let expected =
            "create file \u{201c}/x/pid.XXXXXX\u{201d}: no, \u{201c}/x/pid.config\u{201d}";
        assert_eq!(value[3], expected);
        let expected = "/cg/conmon-compat-[WORLD]/a and conmon-compat-[WORLD], conmon-compat-x";
        assert_eq!(value[4], expected);
    }
}
