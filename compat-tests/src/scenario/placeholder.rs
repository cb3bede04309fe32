//! The names in braces that a scenario may use, and their replacement.
//!
//! The list is closed: an unknown name is an error of the scenario, found before anything runs.

use std::collections::BTreeMap;

/// Names known everywhere in a scenario.
pub const KNOWN: &[&str] = &[
    "bundle",
    "rootfs",
    "log",
    "log_dir",
    "exit_dir",
    "persist_dir",
    "socket_dir",
    "cid",
    "cuuid",
    "name",
    "tmp",
    "run",
    "pidfile",
    "conmon_pidfile",
    "shared",
    "runtime",
    "cwd",
    "notify",
    "bin",
    "monitor",
    "payload",
    "exit_recorder",
    "exit_records",
    "process_spec",
    "session_bundle",
    "root",
];

/// Names known only while a scenario plays, thus in steps alone.
pub const LIVE: &[&str] = &["monitor_pid", "container_pid"];

/// The text written, before any value is known, or the reason it cannot be.
///
/// # Errors
///
/// The unknown name, or the brace without its partner.
pub fn check(text: &str, live: bool) -> Result<(), String> {
    expand_with(text, |name| {
        let known = KNOWN.contains(&name) || (live && LIVE.contains(&name));
        known.then(String::new).ok_or_else(|| format!("unknown placeholder `{{{name}}}`"))
    })
    .map(drop)
}

/// Replaces every `{name}`; `{{` and `}}` stand for the braces themselves.
///
/// # Errors
///
/// As [`check`].
pub fn expand(text: &str, values: &BTreeMap<&'static str, String>) -> Result<String, String> {
    expand_with(text, |name| {
        values.get(name).cloned().ok_or_else(|| format!("no value for placeholder `{{{name}}}`"))
    })
}

fn expand_with(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            out.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            out.push('}');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|f| f.split_once('}')) {
            out.push_str(&value(name)?);
            rest = after;
        } else {
            return Err(format!("a brace without its partner in `{text}` (write `{{{{` for one)"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_names_and_keeps_doubled_braces() {
        let values = BTreeMap::from([("cid", "c1".to_string())]);
        assert_eq!(expand("a{cid}{{x}}", &values).unwrap(), "ac1{x}");
    }

    #[test]
    fn refuses_an_unknown_name_and_a_lone_brace() {
        assert_eq!(check("{nope}", false).unwrap_err(), "unknown placeholder `{nope}`");
        assert!(check("}", false).unwrap_err().contains("partner"));
        assert!(check("{container_pid}", false).is_err());
        assert!(check("{container_pid}", true).is_ok());
    }
}
