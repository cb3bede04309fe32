//! The values that differ from run to run and are named instead. There are few:
//!
//! - pids become `[PID:main]`, `[PID:container]`, ... so that relations still compare. Pids of
//!   a world begin at 30000, so that no other number is taken for one;
//! - times in logs and syslog lines, checked first, become `[TIME+00:00]` (`observe/logs.rs`,
//!   `observe/datagrams.rs`);
//! - random parts of temporary names (`observe/watch.rs`) and inode numbers of pipes and
//!   sockets (`observe/records.rs`).
//!
//! Paths need no rule: they are the same in every world.

use std::collections::BTreeMap;

use serde_json::Value;

/// Replaces known pids in every text.
pub fn name_pids(value: &mut Value, pids: &BTreeMap<i32, String>) {
    match value {
        Value::String(text) => {
            if let Some(named) = name_in(text, pids) {
                *text = named;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| name_pids(inner, pids)),
        Value::Object(map) => map.values_mut().for_each(|inner| name_pids(inner, pids)),
        _ => {}
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
        name_pids(&mut value, &pids);
        assert_eq!(value["report"], "{\"data\": [PID:container]}\\n");
        assert_eq!(value["part"], "130007 30007x 30008");
        assert_eq!(value["text"], "file 0644 0:0 \"[PID:container]\"");
    }
}
