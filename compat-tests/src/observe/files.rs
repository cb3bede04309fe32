//! The tree of the watched directories at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::logs;
use super::watch::stable_name;
use crate::text::escape;

/// Files up to this size are shown with their content.
const SHOWN: u64 = 256;

/// What the suite itself put there and nobody changes.
const OWN: &[&str] = &["bundle/config.json"];

/// Describes everything under `directories`, by name and path.
pub fn tree(directories: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, path) in directories {
        walk(name, Path::new(path), &mut all);
    }
    all
}

fn walk(prefix: &str, directory: &Path, all: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        all.insert(prefix.to_string(), "unreadable".into());
        return;
    };
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{prefix}/{}", stable_name(&file_name));
        if OWN.contains(&name.as_str()) || name.ends_with("/process.json") {
            continue;
        }
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            walk(&name, &path, all);
        }
        all.insert(name, describe(&path, &metadata));
    }
}

fn describe(path: &Path, metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    let owner = format!("{}:{}", metadata.uid(), metadata.gid());
    let mode = metadata.mode() & 0o7777;
    if kind.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        return format!("link to {}", target.display());
    }
    let what = if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "file"
    };
    let mut text = format!("{what} {mode:04o} {owner}");
    let name = path.to_string_lossy();
    let is_log = name.contains("/logs/") || name.ends_with(".log");
    if kind.is_file() && !is_log {
        if metadata.len() <= SHOWN {
            let content = fs::read(path).unwrap_or_default();
            // A log outside the log directory differs from run to run by its times.
            let shown = logs::without_times(&content).unwrap_or_else(|| escape(&content));
            text.push_str(&format!(" \"{shown}\""));
        } else {
            text.push_str(&format!(" {} bytes", metadata.len()));
        }
    }
    text
}
