//! Waiting for facts, and reading them from `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a fact may take on a busy machine before the test has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How long something is watched that must not happen, or that the reference never does.
pub const A_WHILE: Duration = Duration::from_millis(1500);

/// How long to look for something: generously where it is due, a while where it must not come.
pub fn patience(expected: bool) -> Duration {
    if expected { DEADLINE } else { A_WHILE }
}

/// Waits until `look` finds something.
#[track_caller]
pub fn await_fact<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, look).unwrap_or_else(|| panic!("waited {DEADLINE:?} for {what}"))
}

/// What `look` finds within `limit`, if anything.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `path` exists, and reads it.
#[track_caller]
pub fn await_file(path: &Path) -> String {
    await_fact(&path.display().to_string(), || fs::read_to_string(path).ok())
}

/// The value of a line of `/proc/PID/status`.
#[track_caller]
pub fn status(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in\n{text}")).trim().to_owned()
}

/// One of the signal masks of `/proc/PID/status`; bit 0 is signal 1.
#[track_caller]
pub fn signal_mask(pid: i32, key: &str) -> u64 {
    parse_mask(&status(pid, key))
}

/// The classic signals of a mask; the C library does as it likes with 32 and 33.
#[track_caller]
pub fn parse_mask(hex: &str) -> u64 {
    u64::from_str_radix(hex, 16).unwrap() & 0x7fff_ffff
}

/// Fields of `/proc/PID/stat` from the state on.
pub fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit(") ").next()?.split(' ').map(String::from).collect())
}

/// Whether the process runs: neither gone nor a zombie.
pub fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// Waits until `pid` sleeps and goes on sleeping. What has been sent to it over a pipe or socket before,
/// it has answered then, since that wakes at once; what a terminal holds may still be on its way.
#[track_caller]
pub fn await_settled(pid: i32) {
    let switches = || {
        let sleeping = stat(pid).is_some_and(|fields| fields[0] == "S");
        sleeping.then(|| status(pid, "voluntary_ctxt_switches"))
    };
    await_fact("a sleeping process", || {
        let before = switches()?;
        std::thread::sleep(Duration::from_millis(50));
        (switches()? == before).then_some(())
    });
}

/// Processor time used so far.
pub fn cpu_time(pid: i32) -> Duration {
    let fields = stat(pid).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// The memory that is `pid`'s alone and written to, in KiB.
#[track_caller]
pub fn private_dirty(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok()).unwrap()
}

/// All processes there are.
pub fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The descriptors of `pid` and what they lead to, in order.
pub fn descriptors(pid: i32) -> Vec<(i32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok);
    let mut all: Vec<(i32, String)> = entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            Some((entry.file_name().to_str()?.parse().ok()?, target))
        })
        .collect();
    all.sort();
    all
}
