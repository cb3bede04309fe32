//! How long a key press takes to the container and back.

use std::time::Instant;

use crate::bench::attach::Client;
use crate::bench::case::Case;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Summary, Unit, reading};
use crate::bench::monitor::{Job, Monitor};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

const ROUND_TRIPS: usize = 2000;

pub fn cases() -> Vec<Case> {
    vec![Case::new("latency", 7, echo)]
}

/// One byte from a client to the container's stdin, its echo logged and sent back.
fn echo(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let mut job = Job::new("echo-until-eof");
    job.options = vec!["--stdin"];
    let monitor = Monitor::begin(lab, subject, &job)?;
    let client = Client::connect(&monitor.attach_socket())?;
    client.echo()?;
    let before = procfs::settled_cpu_time(monitor.pid)?;
    let count = if lab.quick { 20 } else { ROUND_TRIPS };
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        client.echo()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = procfs::settled_cpu_time(monitor.pid)?.saturating_sub(before);
    drop(client);
    monitor.finish(lab)?;
    let median = Summary::of(&times).map_or(0.0, |summary| summary.median);
    Ok(vec![
        reading("round trip (median)", Unit::Microseconds, median),
        reading("CPU of one", Unit::Microseconds, cpu.as_secs_f64() * 1e6 / count as f64),
    ])
}
