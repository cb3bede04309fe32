//! A running monitor, as `/proc` shows it.
//!
//! Read by hand and not with the procfs crate: it gives the environment as a map, in which order and repetition are lost, and what is
//! compared here is whether every byte arrived. The rest is a few lines of `status`, kept as the kernel writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::records::stable_target;
use crate::observation::{ProcessInternal, ProcessSeen};
use crate::text::escape;

/// What the caller knows about the monitor it looks at.
pub struct Expected<'a> {
    pub env: &'a BTreeMap<String, String>,
    /// The links of the descriptors the caller gave, by their names.
    pub inherited: &'a BTreeMap<String, String>,
}

/// Looks at one process; nothing when it is gone.
pub fn look(pid: i32, expected: &Expected<'_>) -> Option<ProcessSeen> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| fs::read(proc.join(name)).ok();
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let line = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_string()
    };
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let own = pid.to_string();
    let environ = split(&read("environ")?);
    let wanted: Vec<String> =
        expected.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fds = descriptors(&proc);
    Some(ProcessSeen {
        comm: line("Name"),
        exe: link(&proc.join("exe")),
        cmdline: split(&read("cmdline")?),
        parent: if fields.get(1) == Some(&"1") { "init".into() } else { "another".into() },
        group_leader: fields.get(2) == Some(&own.as_str()),
        session_leader: fields.get(3) == Some(&own.as_str()),
        cwd: link(&proc.join("cwd")),
        umask: line("Umask"),
        oom_score_adj: escape(&read("oom_score_adj")?).trim_end_matches("\\n").to_string(),
        environ_kept: wanted.iter().all(|w| environ.contains(w)) && environ.len() == wanted.len(),
        signals_ignored: signals(&line("SigIgn")),
        stdio: fds
            .iter()
            .filter(|fd| fd.number < 3)
            .map(|fd| format!("{}: {} {}", fd.number, stable_target(&fd.target), fd.access))
            .collect(),
        inherited: expected
            .inherited
            .iter()
            .filter(|(_, target)| fds.iter().any(|fd| fd.number > 2 && fd.target == **target))
            .map(|(name, _)| name.clone())
            .collect(),
        namespaces_kept: namespaces(&proc) == namespaces(Path::new("/proc/self")),
        internal: ProcessInternal {
            state: line("State"),
            threads: line("Threads"),
            signals_blocked: signals(&line("SigBlk")),
            signals_caught: signals(&line("SigCgt")),
            descriptor_count: fds.len(),
            descriptors: kinds(&fds, expected),
        },
    })
}

/// Whether a process sleeps, and in a state that two looks find the same.
pub fn is_settled(seen: &ProcessSeen, again: &ProcessSeen) -> bool {
    let (mut a, mut b) = (seen.clone(), again.clone());
    a.internal.state.clear();
    b.internal.state.clear();
    serde_json::to_value(a).ok() == serde_json::to_value(b).ok()
        && !again.internal.state.starts_with('R')
}

/// The state letter of a process; none when it is gone.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// The name of a process, also of one that has ended and is not reaped.
pub fn comm(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    stat.get(start + 1..end).map(str::to_string)
}

/// Processes whose parent is this one and whose environment has `marker`.
pub fn orphans_with(marker: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let parent = stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(1));
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        parent == Some("1") && split(&environ).iter().any(|v| v == marker)
    })
    .collect()
}

/// The processes whose parent is `parent`.
pub fn children_of(parent: u32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let field = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        field.and_then(|field| field.parse().ok()) == Some(parent)
    })
    .collect()
}

/// All there is to say about a process that hangs.
pub fn dump(name: &str, pid: i32) -> Vec<String> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    const TELLING: &[&str] = &["State", "PPid", "Threads", "Sig", "Shd"];
    let mut lines = vec![format!("{name} (pid {pid}) still runs")];
    for file in ["status", "wchan", "stack", "syscall"] {
        let text = fs::read_to_string(proc.join(file)).unwrap_or_default();
        let telling =
            |line: &&str| file != "status" || TELLING.iter().any(|word| line.starts_with(word));
        lines.extend(text.lines().filter(telling).map(|line| format!("  {file}: {line}")));
    }
    for fd in descriptors(&proc) {
        lines.push(format!("  fd {}: {} {}", fd.number, fd.target, fd.access));
    }
    lines
}

struct Descriptor {
    number: i32,
    target: String,
    access: &'static str,
}

fn descriptors(proc: &Path) -> Vec<Descriptor> {
    let entries = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
    let mut all: Vec<Descriptor> = entries
        .filter_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let info = fs::read_to_string(proc.join(format!("fdinfo/{number}"))).ok()?;
            let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?;
            let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
            let access = ["r", "w", "rw", "?"].get((flags & 3) as usize).copied()?;
            Some(Descriptor { number, target: link(&entry.path()), access })
        })
        .collect();
    all.sort_by_key(|fd| fd.number);
    all
}

/// What the descriptors above the standard streams are, the caller's own left out.
fn kinds(fds: &[Descriptor], expected: &Expected<'_>) -> Vec<String> {
    let own =
        |fd: &&Descriptor| fd.number > 2 && !expected.inherited.values().any(|t| *t == fd.target);
    let mut kinds: Vec<String> = fds
        .iter()
        .filter(own)
        .map(|fd| format!("{} {}", stable_target(&fd.target), fd.access))
        .collect();
    kinds.sort();
    kinds
}

fn namespaces(proc: &Path) -> Vec<String> {
    ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"]
        .iter()
        .map(|kind| link(&proc.join("ns").join(kind)))
        .collect()
}

fn link(path: &Path) -> String {
    fs::read_link(path).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
}

fn split(bytes: &[u8]) -> Vec<String> {
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|b| *b == 0).map(escape).collect()
}

/// The names behind a mask of `/proc/PID/status`.
pub fn signals(mask: &str) -> Vec<String> {
    let bits = u64::from_str_radix(mask, 16).unwrap_or(0);
    let set = (1..=64).filter(|number| bits & (1 << (number - 1)) != 0);
    set.map(|number| match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_string(),
        Err(_) => format!("signal {number}"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_signals_of_a_mask() {
        assert_eq!(signals("0000000000010200"), ["SIGUSR1", "SIGCHLD"]);
        assert!(signals("0").is_empty());
    }
}
