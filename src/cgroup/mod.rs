//! The container's control group: where it is, and whether its memory ran out.

mod kernel_log;
pub(crate) mod oom;
#[cfg(test)]
mod properties;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::diagnostics::Diagnostics;
use crate::failure::concat;

const ROOT: &str = "/sys/fs/cgroup";

/// Which interface the host's control groups have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// What is mounted at /sys/fs/cgroup; whatever is not v2 counts as v1.
    pub(crate) fn of_host() -> Self {
        match statfs(ROOT) {
            Ok(info) if info.filesystem_type() == CGROUP2_SUPER_MAGIC => Self::V2,
            _ => Self::V1,
        }
    }
}

/// The directory of the group that holds the memory of process `pid`.
///
/// Warns and returns `None` when it cannot be told.
pub(crate) fn directory_of(pid: Pid, version: Version, diag: &Diagnostics) -> Option<PathBuf> {
    let file = format!("/proc/{pid}/cgroup");
    let Ok(table) = std::fs::read(&file) else {
        diag.warn(format!("Failed to open cgroups file: {file}"));
        return None;
    };
    match find(&table, version) {
        Ok(Some(directory)) => Some(directory),
        Ok(None) => {
            let what = match version {
                Version::V1 => "memory cgroup path",
                Version::V2 => "cgroup path",
            };
            diag.warn(format!("Failed to get {what}. Container may have exited"));
            None
        }
        Err(Malformed { missing, line }) => {
            let intro = format!("Error parsing cgroup, {missing} not found: ");
            diag.warn(concat(&[intro.as_bytes(), &line]));
            None
        }
    }
}

/// A line that is not `ID:CONTROLLERS:PATH`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    missing: &'static str,
    line: Vec<u8>,
}

/// Finds the group in the text of /proc/PID/cgroup (cgroups(7)).
pub(crate) fn find(table: &[u8], version: Version) -> Result<Option<PathBuf>, Malformed> {
    for line in table.split_inclusive(|byte| *byte == b'\n') {
        let malformed = |missing| Malformed { missing, line: line.to_vec() };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let (id, rest) = split_at_colon(text).ok_or_else(|| malformed("':'"))?;
        let (controllers, path) = split_at_colon(rest).ok_or_else(|| malformed("second ':'"))?;
        let root = ROOT.as_bytes();
        let directory = match version {
            Version::V2 if id == b"0" && controllers.is_empty() => concat(&[root, path]),
            Version::V1 if controllers.split(|byte| *byte == b',').any(|one| one == b"memory") => {
                concat(&[root, b"/", controllers, path])
            }
            _ => continue,
        };
        return Ok(Some(PathBuf::from(OsString::from_vec(directory))));
    }
    Ok(None)
}

fn split_at_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// Marks the container as killed for want of memory, by empty files named `oom`.
///
/// Returns whether every file is there now.
fn create_oom_files(directories: &[PathBuf], diag: &Diagnostics) -> bool {
    diag.info("OOM received");
    let mut all = true;
    for directory in directories.iter().filter(|path| !path.as_os_str().is_empty()) {
        if let Err(error) = create_empty(&directory.join("oom")) {
            let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0));
            let path = directory.as_os_str().as_encoded_bytes();
            diag.warn_errno(concat(&[b"Failed to write oom file to the ", path, b" path"]), errno);
            all = false;
        }
    }
    all
}

fn create_empty(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::v2(Version::V2, "1:name=systemd:/x\n0::/machine/c\n", Some("/sys/fs/cgroup/machine/c"))]
    #[case::v2_without_newline(Version::V2, "0::/c", Some("/sys/fs/cgroup/c"))]
    #[case::v2_not_mounted(Version::V2, "3:memory:/c\n", None)]
    #[case::v1(Version::V1, "5:pids:/p\n4:memory:/c\n", Some("/sys/fs/cgroup/memory/c"))]
    #[case::v1_shared(Version::V1, "4:cpu,memory:/c\n", Some("/sys/fs/cgroup/cpu,memory/c"))]
    #[case::v1_similar_name(Version::V1, "4:memory2:/c\n", None)]
    #[case::colon_in_path(Version::V2, "0::/a:b\n", Some("/sys/fs/cgroup/a:b"))]
    #[case::empty(Version::V1, "", None)]
    fn finds_the_group(#[case] version: Version, #[case] table: &str, #[case] path: Option<&str>) {
        assert_eq!(find(table.as_bytes(), version), Ok(path.map(PathBuf::from)));
    }

    #[rstest]
    #[case::no_colon("abc\n", "':'")]
    #[case::one_colon("4:memory\n", "second ':'")]
    fn refuses_a_line_that_is_none(#[case] table: &str, #[case] missing: &'static str) {
        let expected = Malformed { missing, line: table.as_bytes().to_vec() };
        assert_eq!(find(table.as_bytes(), Version::V1), Err(expected));
    }
}
