//! The caller and the attach clients: one life from the launch of the monitor to its end.

use std::fs::{self, File};
use std::io::{Error, Result, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::Pid;

use crate::clients::{connect_client, delivery, read_logs, read_packets, without_tags};
use crate::container::LIFE;
use crate::lives::{Life, NOTIFICATION, TYPED};
use crate::outcome::Outcome;
use crate::peers::Peers;
use crate::place::{self, BUNDLE, CID, EXITS, GO, NOTES, PERSIST, TEMPORARY};
use crate::tracer::State;

/// The descriptors the monitor is told of.
const SYNC_FD: i32 = 3;
const START_FD: i32 = 4;
const ATTACH_FD: i32 = 5;

/// Stands in the place of a report that did not come while the pipe was open.
const NOTHING_CAME: &str = "(nothing came)";
/// How long the caller waits for a report. A monitor may wait 10 s for a reader of its own.
const REPORT: Duration = Duration::from_secs(15);
/// How long the monitor may live once the container has been told to finish.
const LIFE_AFTER_END: Duration = Duration::from_secs(14);
/// How long a monitor that has refused may take to end, and a left process to be gone.
const GRACE: Duration = Duration::from_secs(3);
const SETTLED: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(2);

/// Both ends of the pipes between caller and monitor.
pub struct Pipes {
    sync: OwnedFd,
    start: OwnedFd,
    attach: Option<OwnedFd>,
    theirs: Vec<(OwnedFd, i32)>,
    streams: Vec<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Pipes {
    pub fn new(life: &Life) -> Result<Self> {
        let pair =
            || socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (sync, their_sync) = pair()?;
        let (start, their_start) = pair()?;
        let mut theirs = vec![(their_sync, SYNC_FD), (their_start, START_FD)];
        let mut attach = None;
        if life.attaches {
            let (ours, their_attach) = pair()?;
            attach = Some(ours);
            theirs.push((their_attach, ATTACH_FD));
        }
        let (out, stdout) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (err, stderr) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (stdout, stderr) = (Some(stdout), Some(stderr));
        Ok(Self { sync, start, attach, theirs, streams: vec![out, err], stdout, stderr })
    }
}

/// Starts the monitor, stopped at its first instruction and traced; returns its pid.
pub fn launch(monitor: &str, life: &Life, pipes: &Pipes) -> Result<u32> {
    let mut command = Command::new(monitor);
    command.arg0("conmon").args(life.arguments()).env_clear().current_dir(BUNDLE);
    command.env("PATH", "/usr/bin:/bin").env("TMPDIR", TEMPORARY).env(LIFE, life.name);
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    command.env("_OCI_SYNCPIPE", SYNC_FD.to_string());
    command.env("_OCI_STARTPIPE", START_FD.to_string());
    if life.attaches {
        command.env("_OCI_ATTACHPIPE", ATTACH_FD.to_string());
    }
    let stream = |end: &Option<OwnedFd>| -> Result<Stdio> {
        let end = end.as_ref().ok_or_else(|| Error::other("launched twice"))?;
        Ok(Stdio::from(end.try_clone()?))
    };
    command.stdin(Stdio::null()).stdout(stream(&pipes.stdout)?).stderr(stream(&pipes.stderr)?);
    let numbers: Vec<(i32, i32)> =
        pipes.theirs.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            // Out of the way of the numbers they are to have.
            let mut high = [0; 3];
            for (place, (fd, _)) in high.iter_mut().zip(&numbers) {
                *place = Errno::result(libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, 100))?;
            }
            for (fd, (_, number)) in high.iter().zip(&numbers) {
                Errno::result(libc::dup2(*fd, *number))?;
            }
            let all = nix::sys::signal::SigSet::all();
            all.thread_unblock()?;
            nix::sys::ptrace::traceme()?;
            Ok(())
        });
    }
    Ok(command.spawn()?.id())
}

struct Play<'a> {
    life: &'static Life,
    state: &'a Mutex<State>,
    outcome: Outcome,
    ended: Instant,
}

/// Plays the caller; returns what was seen from its side.
pub fn play(
    life: &'static Life,
    mut pipes: Pipes,
    peers: Peers,
    state: &Mutex<State>,
) -> Result<Outcome> {
    pipes.theirs.clear();
    (pipes.stdout, pipes.stderr) = (None, None);
    std::mem::take(&mut pipes.streams).into_iter().for_each(|pipe| peers.read_stream(pipe));
    let mut play = Play { life, state, outcome: Outcome::default(), ended: Instant::now() };
    play.create(&pipes)?;
    // Whoever refuses has started nothing that could go on.
    let clients = if play.was_refused() { Vec::new() } else { play.run(&pipes)? };
    play.finish(&pipes, clients)?;
    play.look(&peers)?;
    Ok(play.outcome)
}

impl Play<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container that lives although its report was lost is one to be monitored.
    fn was_refused(&self) -> bool {
        self.outcome.report.map_or(!self.outcome.container_ran, |value| value < 0)
    }

    /// Up to the report of the creation; of a legacy session nothing is reported but its end.
    fn create(&mut self, pipes: &Pipes) -> Result<()> {
        let _ = nix::unistd::write(&pipes.start, b"0");
        if let Some(attach) = &pipes.attach {
            let (report, text) = self.report(attach, REPORT);
            if report.is_none_or(|value| value < 0) {
                (self.outcome.report, self.outcome.report_text) = (report, text);
                return Ok(());
            }
            let _ = nix::unistd::write(&pipes.start, b"0");
        }
        if self.life.session && !self.life.attaches {
            self.outcome.report = self.await_container(REPORT).then_some(0);
            return Ok(());
        }
        (self.outcome.report, self.outcome.report_text) = self.report(&pipes.sync, REPORT);
        if self.outcome.report.is_none() {
            self.outcome.container_ran = self.await_container(SETTLED);
        }
        Ok(())
    }

    /// Whether the container's process has come to life, as long as a monitor is there.
    fn await_container(&self, patience: Duration) -> bool {
        let marker = format!("{NOTES}/container");
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if fs::exists(&marker).unwrap_or(false) {
                return true;
            }
            if self.state().alive.is_empty() {
                return fs::exists(&marker).unwrap_or(false);
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    /// The clients attach, the container is told to finish.
    fn run(&mut self, pipes: &Pipes) -> Result<Vec<JoinHandle<Vec<u8>>>> {
        let mut clients = Vec::new();
        for number in 0..self.life.clients {
            let Some(client) = connect_client() else { continue };
            if number == 0 {
                let typed = TYPED.as_bytes();
                let _ = send(
                    client.as_raw_fd(),
                    typed,
                    MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
                );
            }
            clients.push(std::thread::spawn(move || read_packets(&client)));
        }
        if self.life.control {
            write_fifo("winsz", b"30 100\n");
            write_fifo("ctl", if self.life.terminal { b"1 40 120\n" } else { b"2 0 0\n" });
        }
        // A client must be the monitor's before the container speaks.
        std::thread::sleep(Duration::from_millis(if self.life.clients > 0 { 15 } else { 0 }));
        let _ = pipes;
        self.outcome.container_ran = self.await_container(REPORT);
        self.ended = Instant::now();
        if self.outcome.container_ran {
            let end = Instant::now() + GRACE;
            while !write_to(GO, b"") && Instant::now() < end {
                std::thread::sleep(LOOK);
            }
            self.ended = Instant::now();
        }
        Ok(clients)
    }

    /// Waits for everybody's end.
    fn finish(&mut self, pipes: &Pipes, clients: Vec<JoinHandle<Vec<u8>>>) -> Result<()> {
        let refused = self.was_refused();
        let limit = if refused { GRACE } else { LIFE_AFTER_END };
        let end = Instant::now() + limit;
        let exit_file = format!("{EXITS}/{CID}");
        loop {
            let over = self.state().alive.is_empty() || Instant::now() > end;
            if self.outcome.exit_file_ms.is_none() && fs::exists(&exit_file)? {
                self.outcome.exit_file_ms = Some(milliseconds(self.ended.elapsed()));
            }
            if over {
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.kill_starved_container();
        let left = self.state().alive.clone();
        if left.is_empty() {
            self.outcome.monitor_ended_ms = Some(milliseconds(self.ended.elapsed()));
        }
        if self.life.session && (!refused || !self.life.attaches) {
            let (report, text) = self.report(&pipes.sync, SETTLED);
            self.outcome.exit_report = report;
            self.outcome.report_text.push_str(&text);
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let end = Instant::now() + GRACE;
        while !self.state().alive.is_empty() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        self.outcome.sync_ended = is_at_end(&pipes.sync);
        self.left_processes();
        let (out, err) = self.life.delivered();
        let expected = [out, err].concat();
        for (number, client) in clients.into_iter().enumerate() {
            let received = client.join().map_err(|_| Error::other("a client died"))?;
            let name =
                format!("client {}", char::from(b'a' + u8::try_from(number).unwrap_or_default()));
            self.outcome.deliveries.insert(name, delivery(&expected, &without_tags(&received)));
        }
        Ok(())
    }

    /// A container that still waits for what was lost is no fault of its monitor, which has to
    /// record its end like any other.
    fn kill_starved_container(&mut self) {
        let finished = fs::exists(format!("{NOTES}/finished")).unwrap_or(false);
        let pid = fs::read_to_string(format!("{NOTES}/container")).unwrap_or_default();
        let Ok(pid) = pid.trim().parse() else { return };
        if finished || self.state().alive.is_empty() || self.was_refused() {
            return;
        }
        if kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            self.outcome.starved = true;
            let end = Instant::now() + GRACE;
            while !self.state().alive.is_empty() && Instant::now() < end {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Names what runs although monitor and container are gone, and ends it.
    fn left_processes(&mut self) {
        let container = fs::read_to_string(format!("{NOTES}/container")).unwrap_or_default();
        let end = Instant::now() + SETTLED;
        loop {
            let left: Vec<String> = processes(&container);
            if left.is_empty() || Instant::now() > end {
                self.outcome.processes = left;
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Looks at files and at what the peers have heard.
    fn look(&mut self, peers: &Peers) -> Result<()> {
        // Datagrams that were sent are there; their reader may not have had its turn yet.
        std::thread::sleep(Duration::from_millis(10));
        let outcome = &mut self.outcome;
        outcome.exit_file = fs::read_to_string(format!("{EXITS}/{CID}")).ok();
        outcome.persist_file = fs::read_to_string(format!("{PERSIST}/exit")).ok();
        outcome.exit_commands =
            fs::read(format!("{NOTES}/exit-command")).map_or(0, |notes| notes.len());
        outcome.names = place::names();
        let heard = peers.heard();
        outcome.said = heard.said();
        let finished = fs::exists(format!("{NOTES}/finished"))?;
        if !finished {
            // What was to come is not owed by the monitor.
            outcome.deliveries.clear();
            return Ok(());
        }
        let (out, err) = self.life.delivered();
        let mut owe = |name: &str, expected: &[u8], received: &[u8]| {
            outcome.deliveries.insert(name.to_owned(), delivery(expected, received));
        };
        match self.life.log {
            Some("journald") => {
                let texts = heard.journal_texts();
                let text = |priority: &str| texts.get(priority).cloned().unwrap_or_default();
                owe("journal stdout", &out, &text("6"));
                owe("journal stderr", &err, &text("3"));
            }
            Some(_) => {
                let (seen_out, seen_err, torn) = read_logs();
                owe("log stdout", &out, &seen_out);
                owe("log stderr", &err, &seen_err);
                outcome.torn_records = torn;
            }
            None => {}
        }
        let mut owe = |name: &str, expected: &[u8], received: &[u8]| {
            outcome.deliveries.insert(name.to_owned(), delivery(expected, received));
        };
        if self.life.stdin {
            owe("stdin", TYPED.as_bytes(), &fs::read(format!("{NOTES}/stdin")).unwrap_or_default());
        }
        if self.life.notify {
            let told = heard.notify.concat();
            owe("notify", NOTIFICATION.as_bytes(), &told);
        }
        Ok(())
    }

    /// The next report on a pipe: its value and its text.
    fn report(&self, pipe: &OwnedFd, patience: Duration) -> (Option<i64>, String) {
        let end = Instant::now() + patience;
        let mut text = Vec::new();
        while !text.ends_with(b"\n") {
            if !await_readable(pipe, end) {
                text.extend_from_slice(NOTHING_CAME.as_bytes());
                break;
            }
            let mut packet = [0; 8192];
            match nix::unistd::read(pipe, &mut packet) {
                Ok(length @ 1..) => text.extend_from_slice(&packet[..length]),
                Ok(_) => break,
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => break,
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let value = json.as_ref().and_then(|json| {
            ["data", "pid", "exit_code"].iter().find_map(|key| json.get(key)?.as_i64())
        });
        (value, text)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn await_readable(fd: &OwnedFd, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(1..) => return true,
            Err(Errno::EINTR) => {}
            _ => return false,
        }
    }
}

fn is_at_end(fd: &OwnedFd) -> bool {
    let mut buffer = [0; 8192];
    loop {
        match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

fn write_fifo(name: &str, bytes: &[u8]) -> bool {
    write_to(&format!("{BUNDLE}/{name}"), bytes)
}

fn write_to(path: &str, bytes: &[u8]) -> bool {
    let fifo = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    fifo.and_then(|mut fifo| fifo.write_all(bytes)).is_ok()
}

/// All other processes of this world but the container's, by name.
fn processes(container: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_pid = name.bytes().all(|byte| byte.is_ascii_digit());
        if !is_pid || name == "1" || name == container.trim() {
            continue;
        }
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        // A zombie is to be reaped by us.
        if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
            continue;
        }
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if !comm.is_empty() {
            names.push(comm.trim().to_owned());
        }
    }
    names
}
