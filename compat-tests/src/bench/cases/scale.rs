//! A full machine: many monitors at once.

use std::collections::VecDeque;
use std::time::Instant;

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
    let mut case =
        Case::new(format!("scale/{count}"), 3, move |lab, subject| scale(lab, subject, count));
    case.warms_up = false;
    vec![case]
}

fn scale(lab: &Lab, subject: &Subject, count: usize) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("sleep-forever");
    job.exit_file = Await::Look;
    let start = Instant::now();
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
    let started = start.elapsed();
    sync();
    let mut pss = 0.0;
    let mut dirty = 0.0;
    for monitor in &monitors {
        let memory = procfs::memory(monitor.pid)?;
        pss += memory.pss;
        dirty += memory.private_dirty;
    }
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
