//! A host that has no process left to give.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use nix::errno::Errno;

/// The kernel refused another process: a limit of the cgroup, of the user or of the machine.
#[derive(Debug)]
pub struct OutOfProcesses;

impl fmt::Display for OutOfProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of processes: the kernel refused another one ({})", limits())
    }
}

impl std::error::Error for OutOfProcesses {}

/// Whether this is why something failed.
#[must_use]
pub fn is_reason(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let code = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        cause.is::<OutOfProcesses>() || code == Some(Errno::EAGAIN as i32)
    })
}

/// Whether a helper that could not start another process says so.
#[must_use]
pub fn is_said(complaint: &str) -> bool {
    complaint.contains("EAGAIN") || complaint.contains("os error 11")
}

/// How often the limits of our own cgroup and those above it have refused a process.
#[must_use]
pub fn refusals() -> u64 {
    let counts = groups().into_iter().filter_map(|group| {
        let text = read_to_string(group.join("pids.events")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("max ")?.parse::<u64>().ok())
    });
    counts.sum()
}

/// The limits, for people.
fn limits() -> String {
    let mut said: Vec<String> = groups()
        .iter()
        .filter_map(|group| {
            let limit = read_to_string(group.join("pids.max")).ok()?;
            let limit = limit.trim();
            (limit != "max").then(|| format!("{}/pids.max is {limit}", group.display()))
        })
        .collect();
    if let Ok((soft, _)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NPROC)
    {
        said.push(format!("ulimit -u is {soft}"));
    }
    said.join(", ")
}

/// Our cgroup for processes and those above it.
fn groups() -> Vec<PathBuf> {
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&own, |top| Path::new(top).is_dir())
}

fn groups_of(own: &str, exists: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let find = |wanted: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|one| one == wanted).then_some(path)
        })
    };
    let (top, path) = match (find("pids"), find("")) {
        (Some(path), _) => ("/sys/fs/cgroup/pids", path),
        (None, Some(path)) if exists("/sys/fs/cgroup/unified") => ("/sys/fs/cgroup/unified", path),
        (None, Some(path)) => ("/sys/fs/cgroup", path),
        (None, None) => return Vec::new(),
    };
    let full = Path::new(top).join(path.trim_start_matches('/'));
    full.ancestors().take_while(|group| group.starts_with(top)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn knows_a_refused_process_below_any_context() {
        let refused = || io::Error::from_raw_os_error(Errno::EAGAIN as i32);
        assert!(is_reason(&anyhow::Error::from(refused()).context("cannot start it")));
        assert!(is_reason(&anyhow::Error::new(OutOfProcesses).context("the world broke")));
        let other = Err::<(), _>(io::Error::from_raw_os_error(Errno::ENOENT as i32));
        assert!(!is_reason(&other.context("cannot start it").unwrap_err()));
        assert!(is_said(&refused().to_string()) && !is_said("no such file (os error 2)"));
    }

    #[test]
    fn finds_the_groups_whose_limits_count() {
        for (own, unified, expected) in [
            ("12:pids:/a/b\n0::/c\n", true, &["pids/a/b", "pids/a", "pids"][..]),
            ("0::/a\n", false, &["a", ""]),
            ("1:cpu,pids:/\n", false, &["pids"]),
            ("1:cpu:/\n0::/c\n", true, &["unified/c", "unified"]),
            ("", false, &[]),
        ] {
            let found = groups_of(own, |_| unified);
            let expected: Vec<PathBuf> =
                expected.iter().map(|path| Path::new("/sys/fs/cgroup").join(path)).collect();
            assert_eq!(found, expected, "{own}");
        }
    }
}
