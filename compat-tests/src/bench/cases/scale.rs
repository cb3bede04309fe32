//! A full machine: many monitors at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::unistd::sync;

use crate::bench::case::Case;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Await, Job, Launched, Monitor, Prepared};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

/// How many are being started at any moment.
const AT_ONCE: usize = 8;

pub fn cases(quick: bool) -> Vec<Case> {
    let count = if quick { 10 } else { 500 };
    let seconds = if quick { 2 } else { 60 };
    let mut idle =
        Case::new(format!("scale/{count}"), 3, move |lab, subject| scale(lab, subject, count));
    idle.warms_up = false;
    let mut at_work = Case::new(format!("scale/{count}/at-work"), 1, move |lab, subject| {
        at_work(lab, subject, count, seconds)
    });
    at_work.warms_up = false;
    at_work.has_floor = true;
    vec![idle, at_work]
}

fn scale(lab: &Lab, subject: &Subject, count: usize) -> Result<Vec<Reading>, Problem> {
    let start = Instant::now();
    let monitors = start_all(lab, subject, "sleep-forever", count)?;
    let started = start.elapsed();
    let [pss, dirty] = memory_of_all(&monitors)?;
    let killed = Instant::now();
    monitors.iter().try_for_each(Monitor::kill_container)?;
    monitors.iter().try_for_each(Monitor::wait_exit_file)?;
    let recorded = killed.elapsed();
    for monitor in monitors {
        monitor.finish(lab)?;
    }
    Ok(vec![
        reading("PSS of all", Unit::Kib, pss),
        reading("private dirty of all", Unit::Kib, dirty),
        reading("time to start all", Unit::Milliseconds, started.as_secs_f64() * 1e3),
        reading("time to record all exits", Unit::Milliseconds, recorded.as_secs_f64() * 1e3),
    ])
}

/// Each container prints a line a second; what that costs all monitors together.
fn at_work(
    lab: &Lab,
    subject: &Subject,
    count: usize,
    seconds: u64,
) -> Result<Vec<Reading>, Problem> {
    let words = format!("wait-file {{go}} trickle {seconds} 100 1000000 sleep-forever");
    let monitors = start_all(lab, subject, &words, count)?;
    let before = spent(&monitors)?;
    for monitor in &monitors {
        monitor.signal("go")?;
    }
    // Half the time, so that memory is looked at while all of them are at work.
    std::thread::sleep(Duration::from_secs(seconds) / 2);
    let [pss, dirty] = memory_of_all(&monitors)?;
    for monitor in &monitors {
        let log = monitor.log.as_deref();
        procfs::wait_until("the last line", || {
            log.is_some_and(|log| procfs::size(log) >= seconds * 145)
        })?;
    }
    if let Some(last) = monitors.last() {
        procfs::settled_cpu_time(last.pid)?;
    }
    let after = spent(&monitors)?;
    monitors.iter().try_for_each(Monitor::kill_container)?;
    for monitor in monitors {
        monitor.finish(lab)?;
    }
    let lines = (count as u64 * seconds) as f64;
    Ok(vec![
        reading("CPU of all", Unit::Milliseconds, (after.0 - before.0).as_secs_f64() * 1e3),
        reading("context switches for one line", Unit::Count, (after.1 - before.1) as f64 / lines),
        reading("PSS of all", Unit::Kib, pss),
        reading("private dirty of all", Unit::Kib, dirty),
    ])
}

/// Starts `count` monitors, a few at a time.
fn start_all(
    lab: &Lab,
    subject: &Subject,
    container: &str,
    count: usize,
) -> Result<Vec<Monitor>, Problem> {
    let mut job = Job::new(container);
    job.exit_file = Await::Look;
    let mut monitors = Vec::with_capacity(count);
    let mut launched: VecDeque<Launched> = VecDeque::new();
    for _ in 0..count {
        launched.push_back(Prepared::new(lab, subject, &job)?.launch()?);
        if launched.len() == AT_ONCE {
            monitors.extend(launched.pop_front().map(Launched::wait).transpose()?);
        }
    }
    for one in launched {
        monitors.push(one.wait()?);
    }
    Ok(monitors)
}

/// PSS and private dirty memory.
fn memory_of_all(monitors: &[Monitor]) -> Result<[f64; 2], Problem> {
    sync();
    monitors.iter().try_fold([0.0, 0.0], |[pss, dirty], monitor| {
        let memory = procfs::memory(monitor.pid)?;
        Ok([pss + memory.pss, dirty + memory.private_dirty])
    })
}

/// CPU time and context switches.
fn spent(monitors: &[Monitor]) -> Result<(Duration, u64), Problem> {
    monitors.iter().try_fold((Duration::ZERO, 0), |(cpu, switches), monitor| {
        let pid = monitor.pid;
        Ok((cpu + procfs::cpu_time(pid)?, switches + procfs::context_switches(pid)?))
    })
}
