//! A container that prints a line now and then, as most of them do.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::bench::attach::{Client, Reader};
use crate::bench::case::{Case, no_strace};
use crate::bench::journal::Journal;
use crate::bench::lab::Lab;
use crate::bench::measure::{Reading, Unit, reading};
use crate::bench::monitor::{Job, LogTo, Monitor};
use crate::bench::options::Subject;
use crate::bench::problem::Problem;
use crate::bench::procfs;

/// Of one line, its newline included.
const LINE_BYTES: u64 = 100;

/// Lines before those that are measured: what is asked is what a line costs in the long run.
const BEFORE: u64 = 30;

/// A client is measured that stays, as most do: what its coming took is given back by then.
const ARRIVED: Duration = Duration::from_millis(1500);

/// Lines that come alone.
#[derive(Clone, Copy)]
struct Trickle {
    name: &'static str,
    pause: Duration,
    lines: u64,
    log: LogTo,
    client: bool,
}

pub fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let steps = [("1ms", 1, 1000), ("100ms", 100, 40), ("2s", 2000, 10)];
    let count = if quick { 1 } else { steps.len() };
    for (name, milliseconds, lines) in steps.into_iter().take(count) {
        let (lines, pause) = if quick { (4, 20) } else { (lines, milliseconds) };
        let pause = Duration::from_millis(pause);
        let plain = Trickle { name, pause, lines, log: LogTo::Tmpfs, client: false };
        for trickle in
            [plain, Trickle { client: true, ..plain }, Trickle { log: LogTo::Journald, ..plain }]
        {
            cases.push(trickle.time());
            cases.push(trickle.calls());
        }
    }
    cases
}

impl Trickle {
    fn group(self) -> String {
        let kind = match (self.log, self.client) {
            (LogTo::Journald, _) => "/journald",
            (_, true) => "/client",
            _ => "",
        };
        format!("trickle/{}{kind}", self.name)
    }

    fn time(self) -> Case {
        let mut case = self.case(self.group(), move |lab, subject| timed(lab, subject, self));
        case.rounds = if self.pause > Duration::from_millis(500) { 1 } else { 7 };
        case
    }

    fn calls(self) -> Case {
        let name = format!("{}/calls", self.group());
        // The first line's event and the last one's only mark the ends of what is counted.
        let few = Self { lines: self.lines.min(100), ..self };
        let mut case = self.case(name, move |lab, subject| counted(lab, subject, few));
        case.obstacle = if self.log == LogTo::Journald {
            |lab| lab.no_journal.clone().or_else(no_strace)
        } else {
            |_| no_strace()
        };
        case
    }

    fn case(
        self,
        name: String,
        run: impl Fn(&Lab, &Subject) -> Result<Vec<Reading>, Problem> + 'static,
    ) -> Case {
        let mut case = Case::new(name, 1, run);
        case.warms_up = false;
        case.has_floor = true;
        if self.log == LogTo::Journald {
            case.obstacle = |lab| lab.no_journal.clone();
        }
        case
    }

    /// A monitor whose container has printed some lines and waits for its `go`, and who listens to it.
    fn begin(self, lab: &Lab, subject: &Subject) -> Result<Scene, Problem> {
        let (lines, pause) = (self.lines, self.pause.as_micros());
        // The first line ever has the time zone looked up.
        let mut job = Job::new(&format!(
            "say first wait-file {{warm}} trickle {BEFORE} {LINE_BYTES} 1000 wait-file {{go}} \
             trickle {lines} {LINE_BYTES} {pause} touch {{done}} wait-file {{stop}}"
        ));
        job.log = self.log;
        let journal = if self.log == LogTo::Journald { Some(Journal::start()?) } else { None };
        let monitor = Monitor::begin(lab, subject, &job)?;
        let reader = if self.client {
            let reader = Client::connect(&monitor.attach_socket())?.read_on();
            thread::sleep(ARRIVED);
            Some(reader)
        } else {
            None
        };
        monitor.signal("warm")?;
        let scene = Scene { bytes: (BEFORE + lines) * LINE_BYTES, journal, monitor, reader };
        procfs::wait_until("the lines before", || scene.has(BEFORE * LINE_BYTES))?;
        Ok(scene)
    }
}

struct Scene {
    bytes: u64,
    journal: Option<Journal>,
    monitor: Monitor,
    reader: Option<Reader>,
}

impl Scene {
    /// Lets the container print and returns when all has arrived.
    fn play(&self) -> Result<(), Problem> {
        self.monitor.signal("go")?;
        procfs::wait_until("the lines", || self.monitor.has("done") && self.has(self.bytes))
    }

    /// Whether as much has arrived wherever it goes.
    fn has(&self, bytes: u64) -> bool {
        let logged = match (&self.journal, &self.monitor.log) {
            (Some(journal), _) => journal.bytes(),
            (None, log) => log.as_deref().map_or(0, procfs::size),
        };
        let read = self.reader.as_ref().map_or(bytes, Reader::bytes);
        logged >= bytes && read >= bytes
    }

    fn end(self, lab: &Lab) -> Result<(), Problem> {
        self.monitor.signal("stop")?;
        self.monitor.finish(lab)?;
        self.reader.into_iter().for_each(Reader::join);
        Ok(())
    }
}

fn timed(lab: &Lab, subject: &Subject, trickle: Trickle) -> Result<Vec<Reading>, Problem> {
    let scene = trickle.begin(lab, subject)?;
    let pid = scene.monitor.pid;
    let cpu = procfs::settled_cpu_time(pid)?;
    let switches = procfs::context_switches(pid)?;
    scene.play()?;
    let cpu = procfs::settled_cpu_time(pid)?.saturating_sub(cpu);
    let switches = procfs::context_switches(pid)? - switches;
    scene.end(lab)?;
    let each = |value: f64| value / trickle.lines as f64;
    Ok(vec![
        reading("CPU of one", Unit::Microseconds, each(cpu.as_secs_f64() * 1e6)),
        reading("context switches for one", Unit::Count, each(switches as f64)),
    ])
}

/// System calls between the first line's arrival and the last one's.
fn counted(lab: &Lab, subject: &Subject, trickle: Trickle) -> Result<Vec<Reading>, Problem> {
    let scene = trickle.begin(lab, subject)?;
    let trace = scene.monitor.place.join("trace");
    let pid = scene.monitor.pid;
    procfs::settled_cpu_time(pid)?;
    let strace = Command::new("strace")
        .args(["-qq", "-s", "4", "-p", &pid.to_string(), "-o"])
        .arg(&trace)
        .stdin(Stdio::null())
        .spawn();
    let mut strace = strace.map_err(Problem::io("strace"))?;
    procfs::wait_until("strace", || procfs::is_traced(pid))?;
    scene.play()?;
    scene.monitor.signal("stop")?;
    // It ends with what it traces.
    strace.wait().map_err(Problem::io("strace"))?;
    let text = std::fs::read_to_string(&trace).map_err(Problem::io("the trace"))?;
    scene.end(lab)?;
    let calls = calls_of_one(&text)
        .ok_or_else(|| Problem::new("the trace does not show the container's lines"))?;
    Ok(vec![reading("system calls for one", Unit::Count, calls)])
}

fn calls_of_one(trace: &str) -> Option<f64> {
    let is_event = |line: &str| line.starts_with("read") && line.contains("\"xxxx\"");
    let calls: Vec<&str> =
        trace.lines().filter(|line| !line.starts_with("---") && !line.starts_with("+++")).collect();
    let first = calls.iter().position(|line| is_event(line))?;
    let last = calls.iter().rposition(|line| is_event(line))?;
    let events = calls.iter().filter(|line| is_event(line)).count() - 1;
    (events > 0).then(|| (last - first) as f64 / events as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_lies_between_the_first_line_and_the_last() {
        let trace = "restart_syscall(<...>) = 1\n\
                     read(5, \"xxxx\"..., 1024) = 100\nwritev(4) = 145\nppoll() = 1\n\
                     --- SIGCHLD {} ---\n\
                     read(5, \"xxxx\"..., 1024) = 100\nwritev(4) = 145\nppoll() = 0\nppoll() = 1\n\
                     read(5, \"xxxx\"..., 1024) = 100\nwritev(4) = 145\nwrite(7, \"x\") = 1\n";
        assert_eq!(calls_of_one(trace), Some(3.5));
        assert_eq!(calls_of_one("read(5, \"xxxx\"..., 1024) = 100\n"), None);
    }
}
