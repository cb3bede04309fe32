//! Starting a monitor as its caller does: descriptors, environment, and what stays with us.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio as Std};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use super::order::Order;
use crate::observation::ProcessSeen;
use crate::observe::streams::Stream;
use crate::scenario::{ExtraFdKind, Monitor, PipeKind, RuntimeKind, Scenario, Stdio};
use crate::sys::{self, ChildSetup};
use crate::world::argv::{self, Call};
use crate::world::paths;

/// A monitor that was started, and the caller's ends of everything.
pub struct Running {
    pub call: Call,
    /// The process the caller started.
    pub launched: i32,
    /// The monitor itself, once known.
    pub pid: Option<i32>,
    pub stdout: Stream,
    pub stderr: Stream,
    pub sync: Option<Stream>,
    pub start: Option<OwnedFd>,
    pub attach: Option<Stream>,
    pub order: Order,
    /// The process of the pid file, once it is known.
    pub container: Option<i32>,
    /// Links of the descriptors the monitor was given, by name.
    pub inherited: BTreeMap<String, String>,
    pub looks: BTreeMap<String, ProcessSeen>,
    /// Kept open and never used.
    _ends: Vec<OwnedFd>,
}

impl Running {
    /// Starts `name` of `scenario`.
    pub fn start(scenario: &Scenario, name: &str, runtime: RuntimeKind) -> Result<Self> {
        let call = argv::call(scenario, name, runtime).map_err(anyhow::Error::msg)?;
        let monitor = scenario.monitor(name).context("no such monitor")?;
        let mut ends = Ends::default();
        let (sync, start, attach) = ends.pipes(&call)?;
        for extra in &monitor.fds {
            ends.extra(extra.fd, extra.kind)?;
        }
        let mut command = Command::new(paths::MONITOR);
        command.args(&call.argv).env_clear().envs(&call.env).current_dir(&call.cwd);
        let mut setup = child_setup(monitor);
        command.stdin(ends.stdin(monitor.stdin_from.unwrap_or(Stdio::Null), &mut setup)?);
        let (out, stdout) = ends.output(1, monitor.stdout_to, &mut setup)?;
        command.stdout(out);
        let (err, stderr) = ends.output(2, monitor.stderr_to, &mut setup)?;
        command.stderr(err);
        setup.fds = ends.given.into_iter().map(|(_, fd, number)| (fd, number)).collect();
        sys::prepare(&mut command, setup);
        let child = command.spawn().with_context(|| format!("cannot start {}", paths::MONITOR))?;
        // Dropping it closes the monitor's ends here.
        drop(command);
        let launched = i32::try_from(child.id())?;
        Ok(Self {
            pid: (!call.daemonises).then_some(launched),
            call,
            launched,
            stdout,
            stderr,
            sync,
            start,
            attach,
            order: Order::default(),
            container: None,
            inherited: ends.inherited,
            looks: BTreeMap::new(),
            _ends: ends.kept,
        })
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = [self.sync.as_ref(), self.attach.as_ref()].into_iter().flatten();
        [&self.stdout, &self.stderr].into_iter().chain(pipes).filter_map(Stream::fd)
    }

    pub fn pump(&mut self) {
        self.stdout.pump();
        self.stderr.pump();
        for pipe in [&mut self.sync, &mut self.attach].into_iter().flatten() {
            pipe.pump();
        }
    }

    /// The pid in the container pid file.
    pub fn container_pid(&self) -> Option<i32> {
        let path = self.call.values.get("pidfile")?;
        std::fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// How much has arrived.
    pub fn volume(&self) -> usize {
        let streams =
            [Some(&self.stdout), Some(&self.stderr), self.sync.as_ref(), self.attach.as_ref()];
        streams.into_iter().flatten().map(|s| s.reads.len() + usize::from(!s.is_open())).sum()
    }

    /// The reports so far: packets, or the lines of a stream.
    pub fn report_count(&self) -> usize {
        let Some(sync) = &self.sync else { return 0 };
        match self.call.pipes {
            PipeKind::Seqpacket => sync.reads.len(),
            _ => sync.bytes().iter().filter(|b| **b == b'\n').count(),
        }
    }
}

/// The ends that go to the monitor, and those that stay.
#[derive(Default)]
struct Ends {
    given: Vec<(String, OwnedFd, i32)>,
    kept: Vec<OwnedFd>,
    inherited: BTreeMap<String, String>,
}

impl Ends {
    fn give(&mut self, name: &str, fd: OwnedFd, number: i32) {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let link = link.map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
        self.inherited.insert(name.to_string(), link);
        self.given.push((name.to_string(), fd, number));
    }

    /// Makes the caller's pipes: sync, start and attach.
    #[allow(clippy::type_complexity, reason = "three ends, used at one place")]
    fn pipes(&mut self, call: &Call) -> Result<(Option<Stream>, Option<OwnedFd>, Option<Stream>)> {
        let mut sync = None;
        if call.pipes != PipeKind::None {
            let (ours, theirs) = report_pipe(call.pipes)?;
            self.give("sync", theirs, call.sync_fd);
            sync = Some(Stream::new(ours)?);
        }
        let mut start = None;
        if let Some(number) = call.start_fd {
            let kind = if call.pipes == PipeKind::Seqpacket {
                SockType::SeqPacket
            } else {
                SockType::Stream
            };
            let (ours, theirs) = pair(kind)?;
            self.give("start", theirs, number);
            start = Some(ours);
        }
        let mut attach = None;
        if let Some(number) = call.attach_fd {
            let (ours, theirs) = pair(SockType::SeqPacket)?;
            self.give("attach", theirs, number);
            attach = Some(Stream::new(ours)?);
        }
        Ok((sync, start, attach))
    }

    fn extra(&mut self, number: i32, kind: ExtraFdKind) -> Result<()> {
        let (theirs, ours) = match kind {
            ExtraFdKind::PipeRead => {
                let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
                (read, Some(write))
            }
            ExtraFdKind::PipeWrite => {
                let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
                (write, Some(read))
            }
            ExtraFdKind::Socket => {
                let (ours, theirs) = pair(SockType::Stream)?;
                (theirs, Some(ours))
            }
            ExtraFdKind::File => {
                (File::create(format!("{}/extra-{number}", paths::RUN_DIR))?.into(), None)
            }
            ExtraFdKind::Null => (File::open("/dev/null")?.into(), None),
        };
        self.give(&format!("fd {number}"), theirs, number);
        self.kept.extend(ours);
        Ok(())
    }

    fn stdin(&mut self, kind: Stdio, setup: &mut ChildSetup) -> Result<Std> {
        Ok(match kind {
            Stdio::Null => Std::null(),
            Stdio::Closed => {
                setup.close.push(0);
                Std::null()
            }
            Stdio::Pipe => {
                let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
                self.kept.push(write);
                Std::from(read)
            }
            Stdio::Tty => {
                let (master, slave) = sys::open_terminal()?;
                self.kept.push(master);
                setup.new_session = true;
                setup.controlling_tty = true;
                Std::from(slave)
            }
        })
    }

    fn output(
        &mut self,
        number: i32,
        kind: Option<Stdio>,
        setup: &mut ChildSetup,
    ) -> Result<(Std, Stream)> {
        Ok(match kind.unwrap_or(Stdio::Pipe) {
            Stdio::Pipe => {
                let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
                (Std::from(write), Stream::new(read)?)
            }
            Stdio::Null => (Std::null(), Stream::default()),
            Stdio::Closed => {
                setup.close.push(number);
                (Std::null(), Stream::default())
            }
            Stdio::Tty => {
                let (master, slave) = sys::open_terminal()?;
                (Std::from(slave), Stream::new(master)?)
            }
        })
    }
}

fn child_setup(monitor: &Monitor) -> ChildSetup {
    let signals = |names: &[String]| -> Vec<Signal> {
        names.iter().filter_map(|name| name.parse().ok()).collect()
    };
    ChildSetup {
        umask: Some(
            monitor.umask.as_deref().and_then(|u| u32::from_str_radix(u, 8).ok()).unwrap_or(0o022),
        ),
        new_group: true,
        default_signals: true,
        ignore: signals(&monitor.ignore_signals),
        block: signals(&monitor.block_signals),
        oom_score_adj: monitor.oom_score_adj,
        drop_sys_resource: monitor.drop_sys_resource,
        ..ChildSetup::default()
    }
}

fn pair(kind: SockType) -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The caller's and the monitor's end of a pipe for reports.
fn report_pipe(kind: PipeKind) -> Result<(OwnedFd, OwnedFd)> {
    match kind {
        PipeKind::Seqpacket => pair(SockType::SeqPacket),
        PipeKind::Stream | PipeKind::None => pair(SockType::Stream),
        PipeKind::Pipe => Ok(pipe2(OFlag::O_CLOEXEC)?),
    }
}

/// Writes all of it to a FIFO that has a reader, in one write.
pub fn write_fifo(path: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut fifo =
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    fifo.write_all(bytes)
}

/// Sends the one byte a start pipe carries.
pub fn release(start: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::sys::socket::{MsgFlags, send};
    send(start.as_fd().as_raw_fd(), b"\0", MsgFlags::MSG_NOSIGNAL).map(drop)
}
