//! What a monitor does while its container does nothing: nothing.

use std::time::Duration;

use crate::bench::case::Case;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Job, Monitor};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

pub fn cases(quick: bool) -> Vec<Case> {
    let time = Duration::from_secs(if quick { 2 } else { 60 });
    let mut case = Case::new("idle", 1, move |lab, subject| idle(lab, subject, time));
    case.warms_up = false;
    vec![case]
}

fn idle(lab: &Lab, subject: &Subject, time: Duration) -> Result<Vec<Reading>, Problem> {
    let monitor = Monitor::begin(lab, subject, &Job::new("sleep-forever"))?;
    let cpu = procfs::settled_cpu_time(monitor.pid)?;
    let switches = procfs::context_switches(monitor.pid)?;
    std::thread::sleep(time);
    let cpu = procfs::cpu_time(monitor.pid)?.saturating_sub(cpu);
    let switches = procfs::context_switches(monitor.pid)? - switches;
    Ok(vec![
        reading("context switches in 60 s", Unit::Count, switches as f64),
        reading("CPU in 60 s", Unit::Microseconds, cpu.as_secs_f64() * 1e6),
    ])
}
