//! A container's output on its way to the log, the journal and the attach clients.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::bench::attach::{Client, Reader};
use crate::bench::case::Case;
use crate::bench::journal::Journal;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Job, LogTo, Monitor};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

/// One kind of output and where it goes.
#[derive(Clone, Copy)]
struct Flow {
    /// Of one line, its newline included; 0: no newline at all.
    line: u64,
    log: LogTo,
    terminal: bool,
    clients: usize,
    /// Of the usual amount of bytes, so that no case takes too long.
    share: u64,
}

const PLAIN: Flow = Flow { line: 4096, log: LogTo::Tmpfs, terminal: false, clients: 0, share: 1 };

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, log) in [("log/tmpfs", LogTo::Tmpfs), ("log/disk", LogTo::Disk)] {
        for (line, share) in [(16, 4), (100, 2), (4096, 1), (0, 1)] {
            cases.push(case(group, Flow { line, log, share, ..PLAIN }));
        }
    }
    for (line, share) in [(100, 8), (4096, 2)] {
        let mut case = case("journald", Flow { line, log: LogTo::Journald, share, ..PLAIN });
        case.obstacle = |lab| lab.no_journal.clone();
        cases.push(case);
    }
    for (line, share) in [(100, 4), (4096, 4)] {
        cases.push(case("terminal", Flow { line, terminal: true, share, ..PLAIN }));
    }
    for (group, clients) in [("attach/1", 1), ("attach/8", 8)] {
        cases.push(case(group, Flow { clients, share: 2, ..PLAIN }));
    }
    cases
}

fn case(group: &str, flow: Flow) -> Case {
    let kind = if flow.line == 0 { "unbroken".to_owned() } else { flow.line.to_string() };
    let mut case =
        Case::new(format!("{group}/{kind}"), 7, move |lab, subject| monitored(lab, subject, flow));
    if flow.log != LogTo::Journald && !flow.terminal && flow.clients == 0 {
        case.limit = Some(Box::new(move |lab| cat(lab, flow)));
    }
    case
}

impl Flow {
    fn bytes(self, lab: &Lab) -> u64 {
        let bytes = lab.bytes / self.share;
        bytes - if self.line > 0 { bytes % self.line } else { 0 }
    }

    /// The payload's verb for the output.
    fn verb(self, lab: &Lab) -> String {
        let bytes = self.bytes(lab);
        match self.line {
            0 => format!("print-bytes {bytes} x"),
            line => format!("lines {} {line}", bytes / line),
        }
    }
}

fn monitored(lab: &Lab, subject: &Subject, flow: Flow) -> Result<Vec<Reading>, Problem> {
    let bytes = flow.bytes(lab);
    let container =
        format!("wait-file {{go}} {} drain touch {{done}} wait-file {{stop}}", flow.verb(lab));
    let mut job = Job::new(&container);
    job.log = flow.log;
    if flow.terminal {
        job.options.push("--terminal");
    }
    let journal = if flow.log == LogTo::Journald { Some(Journal::start()?) } else { None };
    let monitor = Monitor::begin(lab, subject, &job)?;
    let readers: Vec<Reader> = (0..flow.clients)
        .map(|_| Client::connect(&monitor.attach_socket()).map(Client::read_on))
        .collect::<Result<_, _>>()?;
    let before = procfs::settled_cpu_time(monitor.pid)?;

    let start = Instant::now();
    monitor.signal("go")?;
    let arrived = || {
        let logged = match (&journal, &monitor.log) {
            (Some(journal), _) => journal.bytes(),
            (None, Some(log)) => procfs::size(log),
            (None, None) => 0,
        };
        monitor.has("done")
            && logged >= bytes
            && readers.iter().all(|reader| reader.bytes() >= bytes)
    };
    procfs::wait_until("the output in the log and with the clients", arrived)?;
    let wall = start.elapsed();
    let cpu = procfs::settled_cpu_time(monitor.pid)?.saturating_sub(before);

    monitor.signal("stop")?;
    monitor.finish(lab)?;
    readers.into_iter().for_each(Reader::join);
    Ok(rates(cpu, wall, bytes))
}

/// The least that moving the bytes from a pipe to a file can cost an ordinary program.
fn cat(lab: &Lab, flow: Flow) -> Result<Vec<Reading>, Problem> {
    let directory = if flow.log == LogTo::Disk { &lab.disk } else { &lab.tmpfs };
    let path = directory.join("cat");
    let file = File::create(&path).map_err(Problem::io(path.display()))?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Problem::io("a pipe"))?;
    let cat = Command::new("cat").stdin(reader).stdout(file).spawn();
    let mut cat = cat.map_err(Problem::io("cat"))?;
    let pid = i32::try_from(cat.id()).map_err(Problem::io("cat"))?;
    let before = procfs::settled_cpu_time(pid)?;

    let start = Instant::now();
    let mut payload = Command::new(&lab.payload)
        .args(flow.verb(lab).split(' '))
        .stdin(Stdio::null())
        // Ours stays open, so that cat does not end before it was looked at.
        .stdout(writer.try_clone().map_err(Problem::io("a pipe"))?)
        .spawn()
        .map_err(Problem::io("the payload"))?;
    payload.wait().map_err(Problem::io("the payload"))?;
    let bytes = flow.bytes(lab);
    procfs::wait_until("cat's output", || procfs::size(&path) >= bytes)?;
    let wall = start.elapsed();
    let cpu = procfs::settled_cpu_time(pid)?.saturating_sub(before);

    drop(writer);
    cat.wait().map_err(Problem::io("cat"))?;
    let _ = std::fs::remove_file(path);
    Ok(rates(cpu, wall, bytes))
}

fn rates(cpu: Duration, wall: Duration, bytes: u64) -> Vec<Reading> {
    let bytes = bytes as f64;
    vec![
        reading("CPU", Unit::CpuSecondsPerGb, cpu.as_secs_f64() / (bytes / 1e9)),
        reading("speed", Unit::MegabytesPerSecond, bytes / 1e6 / wall.as_secs_f64()),
    ]
}
