//! Plays the steps of a scenario against one monitor in one world.
//!
//! One thread, one loop: everything that can be read is read at every turn, then the fact a
//! step waits for is looked at again. Nothing sleeps for a fixed time, and a fact that does
//! not come true is an observation.

mod facts;
mod finish;
mod follow;
mod launch;
mod order;
pub mod player;
mod problem;
mod steps;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::clock::now;
use crate::observation::{DEADLINE, Observation};
use crate::observe::clients::Client;
use crate::observe::datagrams::Inbox;
use crate::observe::process;
use crate::observe::watch::Watch;
use crate::scenario::{Line, RuntimeKind, Scenario};
use crate::world::build::World;
use crate::world::paths;
use crate::world::request::Request;
use crate::world::watchdog::now_at;
use launch::Running;
use problem::Problem;

/// How often facts without a descriptor to wait on are looked at.
const TURN: Duration = Duration::from_millis(3);

/// How many times slower than planned a turn may be before it makes waits longer.
const SLOWER: u128 = 4;

/// How long what the last step caused may take to arrive.
const SETTLE: Duration = Duration::from_millis(500);

/// Plays a scenario to its end and gathers what was seen.
///
/// # Errors
///
/// Only what is wrong with the world, never what is wrong with the monitor.
pub fn play(request: &Request, scenario: &Scenario, world: &World) -> Result<Observation> {
    let mut driver = Driver::new(request, scenario, world)?;
    for (index, line) in scenario.steps.iter().enumerate() {
        if !driver.step(line)? {
            driver.seen.unmet.push(format!("{DEADLINE}{}: {}", index + 1, line.text));
            driver.describe_hang();
            break;
        }
    }
    driver.finish()
}

/// The end of a wait: some time and some turns of the loop.
///
/// On a loaded machine a turn takes longer, for us as for the monitor; the turns make a wait
/// as long as it would be if the machine were only slower. On an idle one the time decides.
#[derive(Clone, Copy)]
struct Bound {
    time: Instant,
    turn: u64,
}

struct Driver<'a> {
    scenario: &'a Scenario,
    world: &'a World,
    runtime: RuntimeKind,
    began: i128,
    deadline: Bound,
    /// How often the loop has turned.
    turns: u64,
    monitors: BTreeMap<String, Running>,
    clients: BTreeMap<String, Client>,
    journal: Inbox,
    syslog: Inbox,
    notify: Inbox,
    watch: Watch,
    /// Directories to list: the fixed ones and those of exec sessions.
    ended: BTreeMap<i32, String>,
    seen: Observation,
}

impl<'a> Driver<'a> {
    fn new(request: &'a Request, scenario: &'a Scenario, world: &'a World) -> Result<Self> {
        let mut watch = Watch::new()?;
        for (name, path) in paths::WATCHED {
            watch.add(name, Path::new(path))?;
        }
        Ok(Self {
            scenario,
            world,
            runtime: request.runtime,
            began: now(),
            deadline: Bound::after(Duration::from_secs_f64(scenario.data.deadline), 0),
            turns: 0,
            monitors: BTreeMap::new(),
            clients: BTreeMap::new(),
            journal: Inbox::open(paths::JOURNAL)?,
            syslog: Inbox::open(paths::SYSLOG)?,
            notify: Inbox::open(paths::NOTIFY)?,
            watch,
            ended: BTreeMap::new(),
            seen: Observation::default(),
        })
    }

    /// Does one step; false when the deadline has come.
    fn step(&mut self, line: &Line) -> Result<bool> {
        if self.is_over(self.deadline) {
            return Ok(false);
        }
        now_at(&line.text);
        if let Err(problem) = self.act(&line.step)? {
            if problem == Problem::Deadline {
                return Ok(false);
            }
            self.seen.unmet.push(format!("{}: {problem}", line.text));
        }
        Ok(true)
    }

    fn is_over(&self, bound: Bound) -> bool {
        Instant::now() >= bound.time && self.turns >= bound.turn
    }

    /// Waits for something to arrive, at most one turn, and takes all that has.
    fn pump(&mut self) -> Result<()> {
        self.wait_readable()?;
        self.turns += 1;
        for running in self.monitors.values_mut() {
            running.follow();
        }
        for client in self.clients.values_mut() {
            client.pump();
        }
        for inbox in [&mut self.journal, &mut self.syslog, &mut self.notify] {
            inbox.pump();
        }
        self.watch.pump();
        self.reap()?;
        self.find_monitors();
        Ok(())
    }

    fn wait_readable(&self) -> Result<()> {
        let mut sources: Vec<BorrowedFd<'_>> = vec![self.watch.fd()];
        for running in self.monitors.values() {
            sources.extend(running.fds());
        }
        sources.extend(self.clients.values().filter_map(Client::fd));
        sources.extend([&self.journal, &self.syslog, &self.notify].iter().filter_map(|i| i.fd()));
        let mut fds: Vec<PollFd<'_>> =
            sources.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::try_from(TURN)?) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reaps what has ended: as process 1, also what nobody else will.
    fn reap(&mut self) -> Result<()> {
        loop {
            let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let pid = match waitid(Id::All, peek) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                Ok(_) | Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            self.recognise(pid.as_raw());
            let status = waitpid(pid, None)?;
            self.ended.insert(pid.as_raw(), describe(status));
        }
    }

    /// A monitor may end before it was ever seen running; its name tells.
    fn recognise(&mut self, pid: i32) {
        let known = self.monitors.values().any(|m| m.launched == pid || m.pid == Some(pid));
        if known || process::comm(pid).as_deref() != Some("conmon") {
            return;
        }
        let mut waiting = self.monitors.values_mut().filter(|m| m.pid.is_none());
        if let Some(running) = waiting.next() {
            running.pid = Some(pid);
        }
    }

    /// Finds the daemons whose first process has ended.
    fn find_monitors(&mut self) {
        for (name, running) in &mut self.monitors {
            if running.pid.is_none() && self.ended.contains_key(&running.launched) {
                let orphans = process::orphans_with(&format!("CONMON_COMPAT_MONITOR={name}"));
                running.pid = orphans.first().copied();
            }
        }
    }

    /// Whether a monitor has ended, in all its processes.
    fn is_gone(&self, name: &str) -> bool {
        let Some(running) = self.monitors.get(name) else { return true };
        if !self.ended.contains_key(&running.launched) {
            return false;
        }
        match running.pid {
            Some(pid) => self.ended.contains_key(&pid),
            // The daemon was never seen; after a good start it may still be on its way.
            None => {
                self.ended.get(&running.launched).is_some_and(|e| e != "exited 0")
                    || running.sync.as_ref().is_some_and(|s| !s.is_open())
            }
        }
    }

    /// The pid in a monitor's container pid file.
    fn container_pid(&self, name: &str) -> Option<i32> {
        self.monitors.get(name)?.container_pid()
    }

    /// Pumps until nothing new arrives any more.
    fn settle(&mut self) -> Result<()> {
        let until = Bound::after(SETTLE, self.turns);
        while !self.is_over(until) {
            let before = self.volume();
            self.pump()?;
            self.pump()?;
            if self.volume() == before {
                return Ok(());
            }
        }
        Ok(())
    }

    fn volume(&self) -> usize {
        let monitors: usize = self.monitors.values().map(Running::volume).sum();
        let clients: usize = self.clients.values().map(Client::volume).sum();
        monitors
            + clients
            + self.ended.len()
            + self.journal.received.len()
            + self.syslog.received.len()
            + self.notify.received.len()
    }

    fn describe_hang(&mut self) {
        for (name, running) in &self.monitors {
            for (what, pid) in [("launched", Some(running.launched)), ("monitor", running.pid)] {
                if let Some(pid) = pid.filter(|pid| !self.ended.contains_key(pid)) {
                    self.seen.hang.extend(process::dump(&format!("{name} {what}"), pid));
                }
            }
        }
    }
}

impl Bound {
    fn after(duration: Duration, turns_so_far: u64) -> Self {
        let turns = duration.as_millis() / (TURN.as_millis() * SLOWER);
        let turns = u64::try_from(turns).unwrap_or(u64::MAX);
        Self { time: Instant::now() + duration, turn: turns_so_far.saturating_add(turns) }
    }
}

/// How a process ended, in words.
fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number)
}
