//! Which fields two observations have: a path that names none of them is a slip, and what it says is never asked.

use serde_json::Value;

use crate::scenario::{Data, Expect};
use crate::text::names;

/// Fields that are left out while they are empty, by the kind of thing they belong to; see [`crate::observation::Observation`].
const AT_TOP: [&str; 11] = [
    "clients",
    "logs",
    "order",
    "exit_commands",
    "journal",
    "syslog",
    "notify",
    "runtime_output",
    "unmet",
    "hang",
    "notes",
];
const OF_MONITOR: [&str; 2] = ["attach_reports", "look"];
const OF_LAUNCH: [&str; 2] = ["stdout_late", "stderr_late"];
const OF_CLIENT: [&str; 2] = ["odd_packets", "send_problems"];
const OF_LOG: [&str; 1] = ["bad_times"];

/// The paths of every field of some observations, with those that are only empty.
pub struct Fields(Vec<String>);

impl Fields {
    pub fn of(observations: &[&Value]) -> Self {
        let mut paths: Vec<String> = AT_TOP.map(str::to_owned).to_vec();
        for value in observations {
            walk("", value, &mut paths);
        }
        paths.sort();
        paths.dedup();
        Self(paths)
    }

    /// Whether a pattern names a field or what is inside one.
    pub fn has(&self, pattern: &str) -> bool {
        self.0.iter().any(|path| names(pattern, path))
    }
}

fn walk(path: &str, value: &Value, paths: &mut Vec<String>) {
    let join = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    if !path.is_empty() {
        paths.push(path.to_owned());
    }
    match value {
        Value::Object(map) => {
            paths.extend(left_out(path).iter().map(|key| join(key)));
            for (key, inner) in map {
                walk(&join(key), inner, paths);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                walk(&join(&index.to_string()), inner, paths);
            }
        }
        _ => {}
    }
}

/// What an object at this place lacks while it is empty.
fn left_out(path: &str) -> &'static [&'static str] {
    match path.split_once('.') {
        Some(("monitors", rest)) if rest.ends_with(".launch") => &OF_LAUNCH,
        Some(("monitors", rest)) if !rest.contains('.') => &OF_MONITOR,
        Some(("clients", rest)) if !rest.contains('.') => &OF_CLIENT,
        Some(("logs", rest)) if !rest.ends_with(".text") => &OF_LOG,
        _ => &[],
    }
}

/// What a scenario says about fields that neither observation has.
pub(super) fn faults(data: &Data, fields: &Fields) -> Vec<String> {
    let excuses =
        [("ignore", &data.ignore), ("unordered", &data.unordered), ("joined", &data.joined)];
    let excuses =
        excuses.into_iter().flat_map(|(key, list)| list.iter().map(move |e| (key, &e.path)));
    let also = data.also.iter().map(|path| ("also", path));
    let allowed = data.allowed.iter().map(|allowed| ("allowed", &allowed.path));
    let expect = data.expect.iter().filter(|expect| expect.absent != Some(true));
    let expect = expect.map(|expect| ("expect", &expect.path));
    let named = excuses.chain(also).chain(allowed).chain(expect);
    let idle = named.filter(|(_, path)| !fields.has(&countless(path)));
    let idle = idle.map(|(key, path)| format!("`{key}`: nothing is at `{path}` on either side"));
    let absent = data.expect.iter().filter(|expect| expect.absent == Some(true));
    let misplaced = absent.filter(|expect| !could_be(expect, fields)).map(|expect| {
        format!("`expect`: `{}` is absent because there can be nothing of the kind", expect.path)
    });
    idle.chain(misplaced).collect()
}

/// Without the index from the end, which may be any.
fn countless(path: &str) -> String {
    let parts = path.split('.');
    let any = |part: &str| part.strip_prefix('-').is_some_and(|n| n.parse::<usize>().is_ok());
    parts.map(|part| if any(part) { "*" } else { part }).collect::<Vec<_>>().join(".")
}

/// Whether what is to be absent could be there: its top field exists, its moment, monitor or client was there, and a monitor's or
/// a client's field is one that they have.
fn could_be(expect: &Expect, fields: &Fields) -> bool {
    let parts: Vec<&str> = expect.path.split('.').collect();
    match parts.as_slice() {
        ["monitors" | "clients", _, _, ..] => fields.has(&parts[..3].join(".")),
        ["files", _, ..] => fields.has(&parts[..2].join(".")),
        [top, ..] => fields.has(top),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::scenario::Scenario;

    fn said(keys: &str) -> Vec<String> {
        let seen = json!({
            "monitors": {"main": {"launch": {"status": "exited 0"}, "reports": []}},
            "clients": {"a": {"stdout": "x"}},
            "logs": {"ctr.log": {"lines": ["1", "2"], "text": {"stdout": "x"}}},
            "files": {"end": {"run/conmon.pid": "file"}},
            "events": {}, "runtime": [], "containers": {"main": "gone"},
        });
        let text = format!("why = 'x'\nsteps = ['run']\n{keys}");
        let scenario = Scenario::parse(Path::new("a/b.toml"), &text).unwrap();
        faults(&scenario.data, &Fields::of(&[&seen]))
    }

    #[test]
    fn a_path_to_a_field_even_an_empty_one_is_none_to_mind() {
        for path in [
            "logs.**.lines",
            "logs.ctr.log",
            "unmet",
            "syslog",
            "clients.*.send_problems",
            "monitors.main.launch.stderr_late",
            "monitors.*.attach_reports",
            "logs.ctr.log.bad_times",
            "files.end.run/*",
        ] {
            let keys = format!("[[ignore]]\npath = '{path}'\nwhy = 'y'\n");
            assert!(said(&keys).is_empty(), "{path}");
        }
        let last = "[[expect]]\npath = 'logs.ctr.log.lines.-1'\nis = '2'\n";
        assert!(said(last).is_empty());
    }

    #[test]
    fn a_path_to_nothing_is_said() {
        for path in [
            "logs.*.lines2",
            "clients.b",
            "files.created.run/*",
            "monitors.main.ends",
            "sislog",
            "logs.ctr.log.text.bad_times",
            "logs.ctr.log.lines.-x",
            "logs.ctr.log.lines.-",
        ] {
            for key in ["ignore", "unordered", "joined"] {
                let keys = format!("[[{key}]]\npath = '{path}'\nwhy = 'y'\n");
                let fault = format!("`{key}`: nothing is at `{path}` on either side");
                assert_eq!(said(&keys), [fault], "{path}");
            }
            let lacks = format!("[[expect]]\npath = '{path}'\nlacks = 'y'\n");
            assert_eq!(said(&lacks).len(), 1, "{path}");
        }
    }

    #[test]
    fn what_is_to_be_absent_must_be_something_that_could_be_there() {
        for (path, faults) in [
            ("files.end.bundle/attach", 0),
            ("files.created.bundle/attach", 1),
            ("unmet", 0),
            ("unmett", 1),
            ("monitors.main.look.created", 0),
            ("monitors.one.look", 1),
            ("monitors.main.lok.created", 1),
            ("logs.ctr.log.1", 0),
            ("clients.a.sent", 1),
        ] {
            let keys = format!("[[expect]]\npath = '{path}'\nabsent = true\n");
            assert_eq!(said(&keys).len(), faults, "{path}");
        }
    }
}
