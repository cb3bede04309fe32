//! `--log-allowlist-dir`: where a k8s-file may be.

use std::path::{Path, PathBuf};

use crate::diagnostics::Diagnostics;

/// Whether the log at `path` lies in or below one of `directories`, links resolved.
///
/// Empty entries are skipped, and those that do not exist match nothing. Without any entry
/// every path is allowed. A log that is a link has to be allowed at both of its ends, since
/// it is written at one and replaced at the other.
pub(crate) fn is_allowed(path: &Path, directories: &[PathBuf], diag: &Diagnostics) -> bool {
    if directories.is_empty() {
        return true;
    }
    let named = directories.iter().filter(|directory| !directory.as_os_str().is_empty());
    let resolved: Vec<PathBuf> = named
        .filter_map(|directory| {
            let resolved = directory.canonicalize();
            if resolved.is_err() {
                diag.warn("Invalid allowlist directory");
            }
            resolved.ok()
        })
        .collect();
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return false,
    };
    let within = |parent: Option<PathBuf>| {
        // Path::starts_with compares whole components.
        parent.is_some_and(|parent| resolved.iter().any(|allowed| parent.starts_with(allowed)))
    };
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let target_is_within = || {
        let target = path.canonicalize().ok();
        within(target.and_then(|target| target.parent().map(Path::to_path_buf)))
    };
    within(parent.canonicalize().ok()) && (!is_link || target_is_within())
}
