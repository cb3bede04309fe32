//! A container's beginning and end: what an engine waits for.

use std::time::Instant;

use crate::bench::case::{Case, no_strace};
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Job, LogTo, Monitor, Prepared, Runtime};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

pub fn cases() -> Vec<Case> {
    let with_real = |mut case: Case| {
        case.obstacle = |lab| lab.no_runtime.clone();
        case
    };
    let with_floor = |mut case: Case| {
        case.has_floor = true;
        case
    };
    let mut calls = Case::new("start/calls", 1, calls);
    calls.warms_up = false;
    calls.obstacle = |_| no_strace();
    vec![
        with_floor(Case::new("start/stand-in", 60, |lab, subject| {
            start_and_exit(lab, subject, STAND_IN, LogTo::Tmpfs)
        })),
        with_floor(Case::new("start/disk", 25, |lab, subject| {
            start_and_exit(lab, subject, STAND_IN, LogTo::Disk)
        })),
        with_floor(Case::new("exit/disk", 60, exit_on_disk)),
        with_floor(Case::new("full/stand-in", 60, |lab, subject| full(lab, subject, STAND_IN))),
        with_floor(Case::new("exec", 60, exec)),
        with_real(Case::new("start/crun", 25, |lab, subject| {
            start_and_exit(lab, subject, REAL, LogTo::Tmpfs)
        })),
        with_real(Case::new("full/crun", 25, |lab, subject| full(lab, subject, REAL))),
        calls,
    ]
}

const STAND_IN: Runtime = Runtime::StandIn;
const REAL: Runtime = Runtime::Real;

/// From the start of the program to the pid on the sync pipe, and from the container's end to
/// the exit file.
fn start_and_exit(
    lab: &Lab,
    subject: &Subject,
    runtime: Runtime,
    log: LogTo,
) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("sleep-forever");
    job.runtime = runtime;
    job.log = log;
    let monitor = Monitor::begin(lab, subject, &job)?;
    let started = monitor.start_time;
    monitor.let_go(lab)?;
    let monitors_cpu = procfs::settled_cpu_time(monitor.pid)?;
    let killed = Instant::now();
    monitor.kill_container()?;
    monitor.wait_exit_file()?;
    let exit = killed.elapsed();
    let first_cpu = monitor.first_cpu;
    monitor.finish(lab)?;
    Ok(vec![
        reading("start", Unit::Milliseconds, started.as_secs_f64() * 1e3),
        reading("exit", Unit::Milliseconds, exit.as_secs_f64() * 1e3),
        reading("CPU of start", Unit::Microseconds, (first_cpu + monitors_cpu).as_secs_f64() * 1e6),
    ])
}

/// From the end of a container that has printed something to the exit file, the log being on a
/// disk and synced before.
fn exit_on_disk(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("lines 100 100 touch {done} sleep-forever");
    job.log = LogTo::Disk;
    let monitor = Monitor::begin(lab, subject, &job)?;
    procfs::wait_until("the lines", || {
        monitor.has("done") && monitor.log.as_deref().is_some_and(|log| procfs::size(log) > 10_000)
    })?;
    procfs::settled_cpu_time(monitor.pid)?;
    let killed = Instant::now();
    monitor.kill_container()?;
    monitor.wait_exit_file()?;
    let exit = killed.elapsed();
    monitor.finish(lab)?;
    Ok(vec![reading("exit", Unit::Milliseconds, exit.as_secs_f64() * 1e3)])
}

/// A session in a container: from the start of the program to the pid on the sync pipe, and to
/// the exit code there, the session's process ending at once.
fn exec(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("exit 0");
    job.exec = true;
    let mut monitor = Monitor::begin(lab, subject, &job)?;
    let started = monitor.start_time;
    monitor.wait_exit_report()?;
    let whole = monitor.start.elapsed();
    monitor.finish(lab)?;
    Ok(vec![
        reading("start to pid", Unit::Milliseconds, started.as_secs_f64() * 1e3),
        reading("start to exit code", Unit::Milliseconds, whole.as_secs_f64() * 1e3),
    ])
}

/// From the start of the program to the exit file of a container that ends at once.
fn full(lab: &Lab, subject: &Subject, runtime: Runtime) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("exit 0");
    job.runtime = runtime;
    let launched = Prepared::new(lab, subject, &job)?.launch()?;
    let (monitor, whole) = match runtime {
        Runtime::StandIn => {
            let whole = launched.wait_exit_file()?;
            (launched.wait()?, whole)
        }
        Runtime::Real => {
            let monitor = launched.wait()?;
            monitor.let_go(lab)?;
            monitor.wait_exit_file()?;
            let whole = monitor.start.elapsed();
            (monitor, whole)
        }
    };
    monitor.finish(lab)?;
    Ok(vec![reading("start to exit file", Unit::Milliseconds, whole.as_secs_f64() * 1e3)])
}

/// System calls of the monitor alone, up to the report of the pid.
fn calls(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let job = Job::new("exit 0");
    let prepared = Prepared::new(lab, subject, &job)?;
    let trace = prepared.place.join("trace");
    let program = subject.path.display().to_string();
    let output = trace.display().to_string();
    let strace = ["strace", "-f", "-qq", "-s", "64", "-o", &output, &program];
    // It returns when all it traces have ended, so the monitor is gone by then.
    let monitor = prepared.under(&strace).start()?;
    let text = std::fs::read_to_string(&trace).map_err(Problem::io("the trace"))?;
    drop(monitor);
    let (all, own) = count_calls(&text);
    Ok(vec![
        reading("system calls to the report", Unit::Count, all as f64),
        reading("of the monitor's own process", Unit::Count, own as f64),
    ])
}

/// Counts the calls before the report of both the monitor's processes, and of the reporting one.
///
/// What a child does up to its execve is the monitor's doing; later it is another program.
fn count_calls(trace: &str) -> (usize, usize) {
    let split = |line: &'_ str| {
        let (pid, call) = line.split_once(' ')?;
        Some((pid.to_owned(), call.trim_start().to_owned()))
    };
    let lines: Vec<(String, String)> = trace.lines().filter_map(split).collect();
    let report = lines
        .iter()
        .position(|(_, call)| call.starts_with("write(") && call.contains(r#"{\"data\": "#));
    let before = lines.get(..report.unwrap_or(lines.len())).unwrap_or_default();
    let reporter = report.and_then(|at| lines.get(at)).map(|(pid, _)| pid.clone());
    let first = before.first().map(|(pid, _)| pid.clone());
    let mut strangers: Vec<&str> = Vec::new();
    let (mut all, mut own) = (0, 0);
    for (pid, call) in before {
        if strangers.contains(&pid.as_str()) || call.contains("resumed>") {
            continue;
        }
        if call.starts_with("execve(") && Some(pid) != first.as_ref() {
            strangers.push(pid);
        }
        if call.starts_with("+++") || call.starts_with("---") {
            continue;
        }
        all += 1;
        own += usize::from(Some(pid) == reporter.as_ref());
    }
    (all, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_monitors_calls_and_not_the_runtimes() {
        let trace = "1 execve(\"/conmon\") = 0\n\
                     1 clone() = 2\n\
                     2 setsid() = 2\n\
                     2 clone( <unfinished ...>\n\
                     3 dup2(1, 2) = 2\n\
                     3 execve(\"/rt\") = 0\n\
                     3 open(\"/x\") = 3\n\
                     2 <... clone resumed>) = 3\n\
                     3 +++ exited with 0 +++\n\
                     2 --- SIGCHLD {} ---\n\
                     2 write(4, \"{\\\"data\\\": 7}\\n\", 12) = 12\n\
                     2 ppoll() = 1\n";
        assert_eq!(count_calls(trace), (6, 2));
    }
}
