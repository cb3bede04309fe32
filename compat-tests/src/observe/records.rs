//! What the recording runtime and exit command wrote down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The keys that differ from run to run and say nothing.
const DROPPED: &[&str] = &["monotonic_ns", "pid"];

/// The files of a record directory, in the order they were written.
pub fn files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && name.ends_with(".json")
        })
        .collect();
    files.sort();
    files
}

/// Reads the records; `pids` learns who `[PID:WHAT.N]` is.
pub fn read(directory: &str, what: &str, pids: &mut BTreeMap<i32, String>) -> Vec<Value> {
    let files = files(directory);
    files.iter().enumerate().filter_map(|(at, path)| one(path, what, at + 1, pids)).collect()
}

fn one(path: &Path, what: &str, number: usize, pids: &mut BTreeMap<i32, String>) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut record: Value = serde_json::from_str(&text).ok()?;
    let map = record.as_object_mut()?;
    if let Some(pid) = map.get("pid").and_then(Value::as_i64).and_then(|p| i32::try_from(p).ok()) {
        pids.entry(pid).or_insert_with(|| format!("{what}.{number}"));
    }
    for key in DROPPED {
        map.shift_remove(*key);
    }
    for key in ["ppid", "pgid", "sid"] {
        if let Some(value) = map.get_mut(key) {
            *value = Value::String(value.to_string());
        }
    }
    for key in ["stdio", "fds"] {
        for fd in map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(target) = fd.get_mut("target") {
                *target = Value::String(stable_target(target.as_str().unwrap_or_default()));
            }
        }
    }
    Some(record)
}

/// Inode numbers say only that two ends belong together, which the kinds show already.
pub fn stable_target(target: &str) -> String {
    match target.split_once(":[") {
        Some((kind, _)) => format!("{kind}:[]"),
        None => target.to_string(),
    }
}

/// The process that wrote the latest record.
pub fn last_pid(directory: &str) -> Option<i32> {
    let files = files(directory);
    let name = files.last()?.file_stem()?.to_str()?;
    name.split('-').nth(1)?.parse().ok()
}
