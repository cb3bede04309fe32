//! What the kernel tells about a process.
//!
//! Read by hand and not with the crate procfs: what is asked for is few numbers of a few files, again and again while something is
//! measured, and that crate parses whole files into values of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::problem::Problem;

/// How long anything in a measurement may take.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How long a process must have slept without using the CPU to count as settled.
const SETTLED: Duration = Duration::from_millis(25);

/// Polls until `fact` holds.
pub fn wait_until(what: &str, mut fact: impl FnMut() -> bool) -> Result<(), Problem> {
    let end = Instant::now() + PATIENCE;
    while !fact() {
        if Instant::now() > end {
            return Err(Problem::new(format!("timed out waiting for {what}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn read(pid: i32, name: &str) -> Result<String, Problem> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).map_err(Problem::io(path))
}

/// The time the process has spent on a CPU, as the scheduler counts it.
pub fn cpu_time(pid: i32) -> Result<Duration, Problem> {
    let text = read(pid, "schedstat")?;
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| Problem::new("no schedstat in this kernel"))
}

fn is_asleep(pid: i32) -> Result<bool, Problem> {
    let stat = read(pid, "stat")?;
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    Ok(state == Some('S'))
}

/// Waits until the process sleeps and stays asleep; returns the time it has used by then.
pub fn settled_cpu_time(pid: i32) -> Result<Duration, Problem> {
    let end = Instant::now() + PATIENCE;
    loop {
        let before = (is_asleep(pid)?, cpu_time(pid)?);
        std::thread::sleep(SETTLED);
        let after = (is_asleep(pid)?, cpu_time(pid)?);
        if before == after && after.0 {
            return Ok(after.1);
        }
        if Instant::now() > end {
            return Err(Problem::new(format!("process {pid} does not come to rest")));
        }
    }
}

/// How often the process was woken, or interrupted at work.
pub fn context_switches(pid: i32) -> Result<u64, Problem> {
    let status = read(pid, "status")?;
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    Ok(counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

/// Whether a debugger has taken hold of the process.
pub fn is_traced(pid: i32) -> bool {
    let status = read(pid, "status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// Sums over a process's memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub private_dirty: f64,
    pub private_clean: f64,
    pub pss: f64,
    pub rss: f64,
}

pub fn memory(pid: i32) -> Result<Memory, Problem> {
    let text = read(pid, "smaps_rollup")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let of = |name| field(name).ok_or_else(|| Problem::new(format!("no {name} in smaps_rollup")));
    Ok(Memory {
        private_dirty: of("Private_Dirty")?,
        private_clean: of("Private_Clean")?,
        pss: of("Pss")?,
        rss: of("Rss")?,
    })
}

/// How many descriptors the process has open.
pub fn open_descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The size of a file, 0 while there is none.
pub fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}
