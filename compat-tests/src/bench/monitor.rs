//! One monitor at work: started as an engine starts it, and ended again.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, pipe2};

use super::lab::Lab;
use super::options::Subject;
use super::problem::Problem;
use super::procfs::{self, PATIENCE};

/// What a monitor is to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The payload's verbs. `{go}`, `{done}` and so on stand for files of this monitor.
    pub container: Vec<String>,
    pub options: Vec<&'static str>,
    pub log: LogTo,
    pub runtime: Runtime,
    pub exit_file: Await,
    /// A session in a container: its exit is reported, too.
    pub exec: bool,
}

/// How the exit file is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    Watch,
    /// By looking every millisecond: a host has few watches.
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo {
    Tmpfs,
    Disk,
    Journald,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    StandIn,
    Real,
}

impl Job {
    /// A job without options, with the stand-in runtime and a log in memory.
    pub fn new(container: &str) -> Self {
        let container = container.split(' ').map(str::to_owned).collect();
        Self {
            container,
            options: Vec::new(),
            log: LogTo::Tmpfs,
            runtime: Runtime::StandIn,
            exit_file: Await::Watch,
            exec: false,
        }
    }
}

/// Everything made ready for a monitor that has not been started.
pub struct Prepared {
    pub place: PathBuf,
    command: Command,
    cid: String,
    log: Option<PathBuf>,
    report: OwnedFd,
    report_writer: OwnedFd,
    exit_watch: Option<Inotify>,
    runtime: Runtime,
}

/// A monitor with a running container. Dropping it ends both.
pub struct Monitor {
    pub place: PathBuf,
    pub pid: i32,
    pub container: i32,
    pub log: Option<PathBuf>,
    /// From the start of the program to the container's pid.
    pub start_time: Duration,
    pub start: Instant,
    /// What the program's first process used, which goes to the background.
    pub first_cpu: Duration,
    cid: String,
    reports: Reports,
    exit_watch: Option<Inotify>,
    runtime: Runtime,
}

impl Prepared {
    pub fn new(lab: &Lab, subject: &Subject, job: &Job) -> Result<Self, Problem> {
        let place = lab.place()?;
        let exits = place.join("exits");
        fs::create_dir(&exits).map_err(Problem::io("the exit directory"))?;
        let file = |name: &str| place.join(name).display().to_string();
        let words: Vec<String> = job
            .container
            .iter()
            .map(|word| match word.as_str() {
                "{warm}" => file("warm"),
                "{go}" => file("go"),
                "{done}" => file("done"),
                "{burst}" => file("burst"),
                "{quiet}" => file("quiet"),
                "{stop}" => file("stop"),
                other => other.to_owned(),
            })
            .collect();
        let cid = format!("conmon-bench-{}", place.display()).replace('/', "-");
        let mut command = Command::new(&subject.path);
        command.args(["--api-version", "1", "--full-attach", "--log-level", "error"]);
        command.args(["-c", &cid, "-u", &cid, "-n", "bench"]);
        command.arg("-b").arg(&place).arg("-p").arg(place.join("pid"));
        command.arg("--exit-dir").arg(&exits);
        command.arg("--conmon-pidfile").arg(place.join("conmon.pid"));
        match job.runtime {
            Runtime::StandIn => {
                command.arg("-r").arg(lab.stand_in(&place, &words)?);
            }
            Runtime::Real => {
                lab.bundle(&place, &words)?;
                command.arg("-r").arg(&lab.runtime);
                let root = lab.runtime_root();
                command.args(["--runtime-arg", "--root", "--runtime-arg", &root]);
            }
        }
        let log = match job.log {
            LogTo::Tmpfs => Some(place.join("log")),
            LogTo::Disk => Some(lab.disk.join(&cid)),
            LogTo::Journald => None,
        };
        match &log {
            Some(path) => command.arg("-l").arg(format!("k8s-file:{}", path.display())),
            None => command.args(["-l", "journald:"]),
        };
        if job.exec {
            let spec = place.join("process.json");
            fs::write(&spec, "{}").map_err(Problem::io("the session's process"))?;
            command.arg("-e").arg("--exec-process-spec").arg(spec);
        }
        command.args(&job.options);
        let exit_watch = match job.exit_file {
            Await::Watch => Some(watch(&exits)?),
            Await::Look => None,
        };
        let (report, report_writer) = pipe2(OFlag::O_CLOEXEC).map_err(Problem::io("a pipe"))?;
        fcntl(&report_writer, FcntlArg::F_SETFD(FdFlag::empty())).map_err(Problem::io("a pipe"))?;
        command.env("_OCI_SYNCPIPE", report_writer.as_raw_fd().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let runtime = job.runtime;
        Ok(Self { place, command, cid, log, report, report_writer, exit_watch, runtime })
    }

    /// Has another program start the monitor.
    pub fn under(mut self, words: &[&str]) -> Self {
        let mut command = Command::new("env");
        command.args(words).args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.command = command;
        self
    }

    /// Starts the monitor and returns when it has reported the container's pid.
    pub fn start(self) -> Result<Monitor, Problem> {
        self.launch()?.wait()
    }

    /// Starts the monitor and does not wait for it.
    pub fn launch(mut self) -> Result<Launched, Problem> {
        let start = Instant::now();
        let first = self.command.spawn().map_err(Problem::io("starting the monitor"))?;
        drop(self.report_writer);
        let monitor = Monitor {
            place: self.place,
            pid: 0,
            container: 0,
            log: self.log,
            start_time: Duration::ZERO,
            start,
            first_cpu: Duration::ZERO,
            cid: self.cid,
            reports: Reports { pipe: fs::File::from(self.report), rest: Vec::new() },
            exit_watch: self.exit_watch,
            runtime: self.runtime,
        };
        Ok(Launched { monitor, first })
    }
}

/// A monitor on its way.
pub struct Launched {
    monitor: Monitor,
    first: Child,
}

impl Launched {
    /// Returns how long after its start the exit file of a short container had its name.
    pub fn wait_exit_file(&self) -> Result<Duration, Problem> {
        self.monitor.wait_exit_file()?;
        Ok(self.monitor.start.elapsed())
    }

    pub fn wait(mut self) -> Result<Monitor, Problem> {
        let container = self.monitor.reports.next()?;
        self.monitor.start_time = self.monitor.start.elapsed();
        self.monitor.first_cpu = end_of_first(&mut self.first)?;
        if container <= 0 {
            return Err(Problem::new(format!("the monitor reported {container} as a pid")));
        }
        self.monitor.container = i32::try_from(container).map_err(Problem::io("the pid"))?;
        let text = fs::read_to_string(self.monitor.place.join("conmon.pid"));
        let text = text.map_err(Problem::io("the monitor's pid file"))?;
        self.monitor.pid = text.trim().parse().map_err(Problem::io("the monitor's pid"))?;
        Ok(self.monitor)
    }
}

/// Waits for the end of the first process and returns the time it has used.
fn end_of_first(first: &mut Child) -> Result<Duration, Problem> {
    let pid = i32::try_from(first.id()).map_err(Problem::io("the monitor's first process"))?;
    // A zombie still has its record.
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(Pid::from_raw(pid)), ended).map_err(Problem::io("the first process"))?;
    let cpu = procfs::cpu_time(pid)?;
    first.wait().map_err(Problem::io("the monitor's first process"))?;
    Ok(cpu)
}

impl Monitor {
    pub fn begin(lab: &Lab, subject: &Subject, job: &Job) -> Result<Self, Problem> {
        Prepared::new(lab, subject, job)?.start()
    }

    pub fn attach_socket(&self) -> PathBuf {
        self.place.join("attach")
    }

    /// Makes the file the container waits for.
    pub fn signal(&self, name: &str) -> Result<(), Problem> {
        fs::write(self.place.join(name), "").map_err(Problem::io(name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.place.join(name).exists()
    }

    /// Has a real runtime start the container it created.
    pub fn let_go(&self, lab: &Lab) -> Result<(), Problem> {
        match self.runtime {
            Runtime::StandIn => Ok(()),
            Runtime::Real => lab.call_runtime(&["start", &self.cid]),
        }
    }

    /// Returns as soon as a session's exit code was reported.
    pub fn wait_exit_report(&mut self) -> Result<(), Problem> {
        self.reports.next().map(drop)
    }

    pub fn kill_container(&self) -> Result<(), Problem> {
        kill(Pid::from_raw(self.container), Signal::SIGKILL).map_err(Problem::io("the container"))
    }

    /// Returns as soon as the exit file has its name.
    pub fn wait_exit_file(&self) -> Result<(), Problem> {
        let file = self.place.join("exits").join(&self.cid);
        while !file.exists() {
            let Some(watch) = &self.exit_watch else {
                return procfs::wait_until("the exit file", || file.exists());
            };
            wait_readable(watch.as_fd(), "the exit file")?;
            watch.read_events().map_err(Problem::io("inotify"))?;
        }
        Ok(())
    }

    /// Waits for the end of a monitor whose container has ended.
    pub fn finish(self, lab: &Lab) -> Result<(), Problem> {
        self.wait_exit_file()?;
        let pid = Pid::from_raw(self.pid);
        procfs::wait_until("the monitor's end", || {
            waitpid(pid, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive)
        })?;
        if self.runtime == Runtime::Real {
            lab.call_runtime(&["delete", "--force", &self.cid])?;
        }
        Ok(())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // After an ordinary end both are gone and reaped: then the numbers are not ours.
        let ours = Pid::from_raw(self.pid);
        if self.pid > 0 && waitpid(ours, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive) {
            let _ = self.kill_container();
            let _ = procfs::wait_until("the monitor's end", || {
                waitpid(ours, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive)
            });
        }
        if let Some(log) = &self.log {
            let _ = fs::remove_file(log);
        }
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn watch(directory: &Path) -> Result<Inotify, Problem> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).map_err(Problem::io("inotify"))?;
    let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
    watch.add_watch(directory, events).map_err(Problem::io("inotify"))?;
    Ok(watch)
}

fn wait_readable(fd: std::os::fd::BorrowedFd<'_>, what: &str) -> Result<(), Problem> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Ok(0) => Err(Problem::new(format!("timed out waiting for {what}"))),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Problem::io(what)(errno)),
    }
}

/// What the monitor reports, a line each.
struct Reports {
    pipe: fs::File,
    /// Read and not yet asked for.
    rest: Vec<u8>,
}

impl Reports {
    /// The number in the next report.
    fn next(&mut self) -> Result<i64, Problem> {
        let end = loop {
            if let Some(newline) = self.rest.iter().position(|byte| *byte == b'\n') {
                break newline + 1;
            }
            wait_readable(self.pipe.as_fd(), "the monitor's report")?;
            let mut bytes = [0; 1024];
            let length = self.pipe.read(&mut bytes).map_err(Problem::io("the sync pipe"))?;
            if length == 0 {
                return Err(Problem::new("the monitor closed the sync pipe"));
            }
            self.rest.extend_from_slice(bytes.get(..length).unwrap_or_default());
        };
        let line: Vec<u8> = self.rest.drain(..end).collect();
        let said = String::from_utf8_lossy(&line);
        let report: serde_json::Value =
            serde_json::from_slice(&line).map_err(Problem::io(format!("the report {said:?}")))?;
        Ok(report.get("data").and_then(serde_json::Value::as_i64).unwrap_or(-1))
    }
}

/// Whether `path` is a program that can be asked its version.
pub fn version(path: &Path) -> Option<String> {
    let out = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
