//! Memory of idle monitors, and what work leaves behind in one.

use std::time::{Duration, Instant};

use nix::unistd::sync;

use crate::bench::attach::Client;
use crate::bench::case::Case;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Job, Monitor};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs::{self, Memory};

const INSTANCES: usize = 20;
const ATTACHES: usize = 100;

/// How long memory must have stayed the same to count as what an idle monitor holds.
const REST: Duration = Duration::from_millis(1500);

/// How long lines have been coming when memory is looked at.
const TRICKLED: Duration = Duration::from_secs(2);

/// Bytes logged before memory is looked at again, as a multiple of the usual amount.
const LOGGED: u64 = 4;

pub fn cases() -> Vec<Case> {
    let mut idle = Case::new("memory/idle", 5, idle);
    idle.warms_up = false;
    let mut growth = Case::new("memory/growth", 3, growth);
    growth.warms_up = false;
    let mut at_work = Case::new("memory/at-work", 3, at_work);
    at_work.warms_up = false;
    vec![idle, growth, at_work]
}

/// The mean of some idle monitors with a running container each.
fn idle(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let count = if lab.quick { 3 } else { INSTANCES };
    let job = Job::new("sleep-forever");
    let monitors: Vec<Monitor> =
        (0..count).map(|_| Monitor::begin(lab, subject, &job)).collect::<Result<_, _>>()?;
    for monitor in &monitors {
        procfs::settled_cpu_time(monitor.pid)?;
    }
    // Pages of a program that was just written count as dirty until they are on the disk.
    sync();
    let all: Vec<Memory> =
        monitors.iter().map(|monitor| procfs::memory(monitor.pid)).collect::<Result<_, _>>()?;
    let mean = |part: fn(&Memory) -> f64| all.iter().map(part).sum::<f64>() / count as f64;
    Ok(vec![
        reading("private dirty", Unit::Kib, mean(|memory| memory.private_dirty)),
        reading("private clean", Unit::Kib, mean(|memory| memory.private_clean)),
        reading("PSS", Unit::Kib, mean(|memory| memory.pss)),
        reading("RSS", Unit::Kib, mean(|memory| memory.rss)),
    ])
}

/// What one monitor's private memory has grown by after a lot of output and many clients.
fn growth(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let bytes = lab.bytes * LOGGED;
    let lines = (bytes / 100).to_string();
    let container =
        format!("read-line wait-file {{go}} lines {lines} 100 drain touch {{done}} echo-until-eof");
    let mut job = Job::new(&container);
    job.options = vec!["--stdin", "--leave-stdin-open"];
    let monitor = Monitor::begin(lab, subject, &job)?;
    let fresh = settled_private(&monitor)?;
    let client = Client::connect(&monitor.attach_socket())?;
    client.ask(b"hello\n")?;
    drop(client);
    let used = settled_private(&monitor)?;

    monitor.signal("go")?;
    procfs::wait_until("the output", || monitor.has("done"))?;
    let logged = settled_private(&monitor)?;

    let descriptors = procfs::open_descriptors(monitor.pid);
    for _ in 0..if lab.quick { 5 } else { ATTACHES } {
        Client::connect(&monitor.attach_socket())?.echo()?;
    }
    let attached = settled_private(&monitor)?;
    let left_open = procfs::open_descriptors(monitor.pid).saturating_sub(descriptors);
    monitor.kill_container()?;
    monitor.finish(lab)?;
    Ok(vec![
        reading("by the first line and client", Unit::Kib, used - fresh),
        reading("by logging 4 times --megabytes", Unit::Kib, logged - used),
        reading("by 100 clients", Unit::Kib, attached - logged),
        reading("fresh to end", Unit::Kib, attached - fresh),
        reading("descriptors left open", Unit::Count, left_open as f64),
    ])
}

/// Private dirty memory while 20 lines a second come, also when a lot came before, and a client
/// that has left again.
fn at_work(lab: &Lab, subject: &Subject) -> Result<Vec<Reading>, Problem> {
    let bytes = lab.bytes;
    let lines = (bytes / 100).to_string();
    let (few, time) = if lab.quick { (10, TRICKLED / 6) } else { (60, TRICKLED) };
    let container = format!(
        "wait-file {{go}} trickle {few} 100 50000 wait-file {{burst}} lines {lines} 100 touch {{done}} \
         trickle {few} 100 50000 touch {{quiet}} sleep-forever"
    );
    let monitor = Monitor::begin(lab, subject, &Job::new(&container))?;
    let fresh = settled_private(&monitor)?;
    monitor.signal("go")?;
    std::thread::sleep(time);
    let trickled = private(&monitor)?;
    drop(Client::connect(&monitor.attach_socket())?);
    monitor.signal("burst")?;
    procfs::wait_until("the output", || monitor.has("done"))?;
    std::thread::sleep(time);
    let busy = private(&monitor)?;
    procfs::wait_until("the last line", || monitor.has("quiet"))?;
    let quiet = settled_private(&monitor)?;
    monitor.kill_container()?;
    monitor.finish(lab)?;
    Ok(vec![
        reading("before the first line", Unit::Kib, fresh),
        reading("while 20 lines a second come", Unit::Kib, trickled),
        reading("the same 2 s after a burst and a client", Unit::Kib, busy),
        reading("silent again", Unit::Kib, quiet),
    ])
}

fn private(monitor: &Monitor) -> Result<f64, Problem> {
    sync();
    Ok(procfs::memory(monitor.pid)?.private_dirty)
}

/// Private dirty memory once it no longer changes: buffers may be given back after a while.
fn settled_private(monitor: &Monitor) -> Result<f64, Problem> {
    sync();
    procfs::settled_cpu_time(monitor.pid)?;
    let end = Instant::now() + procfs::PATIENCE;
    let mut last = procfs::memory(monitor.pid)?.private_dirty;
    let mut since = Instant::now();
    while since.elapsed() < REST {
        std::thread::sleep(Duration::from_millis(50));
        let now = procfs::memory(monitor.pid)?.private_dirty;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if Instant::now() > end {
            return Err(Problem::new("the monitor's memory does not come to rest"));
        }
    }
    Ok(last)
}
