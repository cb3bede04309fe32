//! The event loop of one container: waits for whatever happens next and passes it on.
//!
//! One thread, one wait. Every peer is non-blocking; an error of a peer costs that peer, not
//! the container's monitor. Rooms do not know each other: values pass between them here.

mod container;
mod creation;
mod delivery;
mod drain;
mod finish;
mod held;
mod output;
mod steady;
mod wait;

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::attach::{Attach, ContainerStdin};
use crate::cgroup::oom::OomWatch;
use crate::config::Config;
use crate::control::{Command, ControlFifo};
use crate::diagnostics::Diagnostics;
use crate::exit::Reserve;
use crate::failure::Failure;
use crate::launch::Inherited;
use crate::log::Log;
use crate::notify::NotifyProxy;
use crate::oom_score::OomScore;
use crate::signals::{
    Child, Ended, REAPS_PER_TURN, Request, SIGNALS_PER_TURN, Signals, reap, reap_next,
};
use crate::stdio::console::{ConsoleSocket, translate_newlines};
use crate::stdio::output::{Output, ReadBuffer};
use crate::sync_pipe::SyncPipe;
use crate::sys;
use crate::sys::poll::PollSet;

pub(crate) use creation::{CreationFailed, Remains};

use container::{ContainerProcess, End};
use held::Creation;
use wait::Source;

/// How long nothing must have happened before the memory that work needed is given back.
const IDLE: Duration = Duration::from_secs(1);

/// How long a killed container may take to be gone before its exit is recorded.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// How often a control fifo is read at the end: more than a caller writes in that moment.
const LAST_READS: usize = 16;

/// A monitor whose runtime has been started.
pub(crate) struct Monitor<'a> {
    pub(crate) config: &'a Config,
    pub(crate) diag: &'a Diagnostics,
    pub(crate) signals: Signals,
    pub(crate) sync: SyncPipe,
    /// Told long ago that the attach socket is there; closed at the container's end.
    pub(crate) attach_pipe: Option<SyncPipe>,
    pub(crate) inherited: Inherited,
    /// Children from before this program was executed in the process. They are the caller's.
    pub(crate) strangers: Vec<Pid>,
    pub(crate) oom_score: OomScore,
    pub(crate) log: Log,
    pub(crate) attach: Option<Attach>,
    pub(crate) stdin: ContainerStdin,
    pub(crate) control: Option<ControlFifo>,
    pub(crate) winsz: Option<ControlFifo>,
    pub(crate) notify: Option<NotifyProxy>,
    pub(crate) console: Option<ConsoleSocket>,
    pub(crate) terminal: Terminal,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) phase: Phase,
    pub(crate) reserve: Reserve,
    pub(crate) work: Work,
}

/// The container's terminal, as far as resizing it goes.
#[derive(Default)]
pub(crate) struct Terminal {
    outer: Option<Rc<OwnedFd>>,
    /// Asked for before the terminal came: rows, columns.
    wanted: Option<(u16, u16)>,
}

/// How far the container's life has come.
pub(crate) enum Phase {
    /// The runtime, whose pid this is, has not ended yet.
    Creating {
        runtime: Pid,
        creation: Box<Creation>,
    },
    Running {
        container: ContainerProcess,
        timeout: Option<Duration>,
        oom: Option<OomWatch>,
    },
    Ended(Ended),
    TimedOut,
}

impl Phase {
    pub(crate) fn creating(runtime: Pid) -> Self {
        Self::Creating { runtime, creation: Box::default() }
    }
}

/// What the loop needs from turn to turn.
pub(crate) struct Work {
    poll: PollSet<Source>,
    ready: Vec<(Source, PollFlags)>,
    buffer: ReadBuffer,
    /// Something was done that lines which come alone do not need.
    worked_hard: bool,
    /// When memory that only such work needs is given back; `None`: there is none.
    release_at: Option<Duration>,
    /// When a log that takes nothing is given up, after the container's end.
    log_stalls_at: Option<Duration>,
    /// More children have ended than one turn reaps.
    reaping: bool,
    /// This turn's wait has looked for new clients, after output, and there were none.
    nobody_new: bool,
    steady: steady::Steady,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            poll: PollSet::new(),
            ready: Vec::new(),
            buffer: ReadBuffer::new(),
            worked_hard: false,
            release_at: None,
            log_stalls_at: None,
            reaping: false,
            nobody_new: false,
            steady: steady::Steady::default(),
        }
    }
}

impl Monitor<'_> {
    /// Serves everything until the runtime has ended, and then until the container has or
    /// its time is up.
    ///
    /// # Errors
    ///
    /// There is no container. Once there is one, nothing makes this return early.
    pub(crate) fn run(&mut self) -> Result<(), CreationFailed> {
        while matches!(&self.phase, Phase::Creating { creation, .. } if creation.runtime_ended().is_none())
        {
            self.turn()?;
        }
        self.container_created()?;
        self.release();
        while matches!(self.phase, Phase::Running { .. }) {
            // Only the console socket can fail, and it is gone by now.
            if let Err(failure) = self.turn() {
                self.diag.failure(&failure);
            }
        }
        self.reserve.free_memory();
        Ok(())
    }

    /// Waits once and answers all that is ready.
    fn turn(&mut self) -> Result<(), Failure> {
        if self.work.poll.is_kept() && self.steady_turn() {
            return Ok(());
        }
        let now = sys::time::monotonic();
        let mut poll = std::mem::replace(&mut self.work.poll, PollSet::new());
        poll.clear();
        self.interests(&mut poll, now);
        let timeout = self.deadline().map(|deadline| deadline.saturating_sub(now));
        if timeout.is_none() && self.becomes_steady(&mut poll) {
            self.work.poll = poll;
            return Ok(());
        }
        let mut ready = std::mem::take(&mut self.work.ready);
        wait::wait(&mut poll, timeout, &mut ready);
        // Whoever has connected sees what is read from now on.
        let came = ready.last().is_some_and(|(source, _)| *source == Source::Listener);
        let newcomers = if came { ready.pop() } else { None };
        self.work.nobody_new = !came && poll.watches(Source::Listener);
        let mut outcome = Ok(());
        self.work.steady.turn();
        for (source, events) in newcomers.into_iter().chain(ready.drain(..)) {
            if let Source::Output(stream) = source {
                self.on_output(stream);
            } else {
                self.work.worked_hard = true;
                outcome = outcome.and(self.dispatch(source, events));
            }
        }
        self.work.nobody_new = false;
        (self.work.poll, self.work.ready) = (poll, ready);
        self.on_deadline();
        outcome
    }

    /// Does what is due after a turn, in which something may have been answered.
    fn on_deadline(&mut self) {
        let now = sys::time::monotonic();
        let due = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
        if let Some(attach) = self.attach.as_mut().filter(|attach| due(attach.deadline())) {
            attach.on_deadline(now, self.diag);
        }
        if std::mem::take(&mut self.work.worked_hard) {
            self.work.steady = steady::Steady::default();
            self.work.release_at = Some(now + IDLE);
        } else if due(self.work.release_at) {
            self.release();
        }
        if self.work.reaping {
            self.check_container();
        }
        if let Phase::Running { container, timeout, oom } = &self.phase {
            if due(oom.as_ref().and_then(OomWatch::deadline)) {
                self.on_oom(|oom, diag| oom.on_deadline(now, diag));
            } else if due(container.deadline()) {
                self.check_container();
            } else if due(*timeout) {
                self.phase_timed_out();
            }
        }
    }

    /// Gives back the memory that a monitor with nothing to do does not need.
    fn release(&mut self) {
        self.work.release_at = None;
        self.work.buffer.release();
        self.log.release_buffers();
        sys::stack::release_unused();
    }

    // Not inlined: the frame in which the monitor waits is to be a small one.
    #[inline(never)]
    fn dispatch(&mut self, source: Source, events: PollFlags) -> Result<(), Failure> {
        let now = sys::time::monotonic();
        match source {
            Source::Signals => self.on_signals(),
            Source::Console => return self.on_console(),
            Source::Listener => self.accept(now),
            Source::Client(id) => {
                if let Some(attach) = &mut self.attach {
                    attach.on_client(id, events, &mut self.stdin, now, self.diag);
                }
            }
            Source::Stdin => self.stdin.on_ready(events, self.diag),
            Source::Control | Source::Winsz => {
                self.on_control(source);
            }
            Source::Notify => {
                if let Some(notify) = &mut self.notify {
                    notify.forward(self.diag);
                }
            }
            Source::Oom => self.on_oom(|oom, diag| oom.on_event(now, diag)),
            Source::Journal => self.log.resume(self.diag),
            // Answered without the stack that the others need.
            Source::Output(_) => {}
            Source::Container => self.check_container(),
        }
        Ok(())
    }

    fn on_signals(&mut self) {
        for _ in 0..SIGNALS_PER_TURN {
            let Some(request) = self.signals.next() else { return };
            match request {
                Request::CheckChildren => self.check_container(),
                Request::Forward(signal) => self.forward(signal),
            }
        }
    }

    /// Passes a signal on to the container, or to the runtime while that is at work.
    fn forward(&mut self, signal: Signal) {
        let sent = match &self.phase {
            Phase::Running { container, .. } => container.signal(signal),
            // Not yet reaped, so the number is still its own.
            Phase::Creating { runtime, creation } if creation.runtime_ended().is_none() => {
                kill(*runtime, signal)
            }
            _ => Ok(()),
        };
        if sent.is_err() {
            self.check_container();
        }
    }

    /// Finds out whether the container has ended, or the runtime while that is at work, and
    /// reaps a bounded number of other children that have.
    fn check_container(&mut self) {
        match &mut self.phase {
            Phase::Creating { runtime, creation } if creation.runtime_ended().is_none() => {
                match reap(*runtime) {
                    Child::Ended(ended) => creation.child_ended(*runtime, *runtime, ended),
                    Child::NotOurs => creation.child_ended(*runtime, *runtime, Ended::Unknown),
                    Child::NotYet => {}
                }
            }
            Phase::Running { container, .. } => {
                if let Some(end) = container.ended(sys::time::monotonic()) {
                    let pid = container.pid();
                    return self.container_ended(pid, end);
                }
            }
            _ => {}
        }
        self.work.reaping = false;
        for _ in 0..REAPS_PER_TURN {
            let Some((pid, ended)) = reap_next() else { return };
            match &mut self.phase {
                Phase::Creating { runtime, creation } => {
                    creation.child_ended(pid, *runtime, ended);
                }
                Phase::Running { container, .. } if container.pid() == pid => {
                    return self.container_ended(pid, End { ended, is_child: true });
                }
                _ => {}
            }
        }
        self.work.reaping = true;
    }

    fn container_ended(&mut self, pid: Pid, End { ended, is_child }: End) {
        if !is_child {
            self.diag
                .info(format!("Container process {pid} has exited (it was not a direct child)"));
        }
        if ended.code() != 0 {
            self.diag.info(format!("container {pid} exited with status {}", ended.code()));
        }
        self.final_oom_check(Some(ended));
        self.phase = Phase::Ended(ended);
    }

    /// Before anybody is told of the exit, and as soon as possible: the group may vanish.
    fn final_oom_check(&mut self, ended: Option<Ended>) {
        let Phase::Running { oom, .. } = &mut self.phase else { return };
        if let Some(oom) = oom.take() {
            let spares = oom.has_descriptor_to_spare();
            let look = || oom.final_check(ended, self.diag);
            // To take the reserve back costs an open(2) that most ends can do without.
            if spares { look() } else { self.reserve.lend(look) }
        }
    }

    fn phase_timed_out(&mut self) {
        let Phase::Running { container, .. } = &self.phase else { return };
        self.diag.info("Timed out, killing main loop");
        container.kill_group();
        container.wait_for_death(KILL_PATIENCE);
        self.final_oom_check(None);
        self.phase = Phase::TimedOut;
    }

    fn on_console(&mut self) -> Result<(), Failure> {
        let Some(console) = &mut self.console else { return Ok(()) };
        let Some(terminal) = console.advance(self.diag)? else { return Ok(()) };
        self.console = None;
        translate_newlines(terminal.as_fd(), self.diag);
        let failed = |errno| Failure::with_errno("Failed to use console file descriptor", errno);
        let output = terminal
            .try_clone()
            .map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            .and_then(Output::terminal)
            .map_err(failed)?;
        self.stdout = Some(output);
        let terminal = Rc::new(terminal);
        self.stdin.set_console(Rc::clone(&terminal), self.diag);
        self.terminal.outer = Some(terminal);
        if let Some((rows, columns)) = self.terminal.wanted.take() {
            self.resize(rows, columns);
        }
        Ok(())
    }

    /// Returns whether the fifo held anything.
    fn on_control(&mut self, source: Source) -> bool {
        let fifo = if source == Source::Control { &mut self.control } else { &mut self.winsz };
        let Some(fifo) = fifo else { return false };
        let mut commands = Vec::new();
        let held = fifo.read(self.diag, |command| commands.push(command));
        for command in commands {
            match command {
                Command::Resize { rows, columns } => self.resize(rows, columns),
                Command::ReopenLogs => self.log.reopen(self.diag),
            }
        }
        held
    }

    /// Obeys what was asked for while the end was being recorded: whoever has moved the log away
    /// waits for a new one without a limit.
    pub(super) fn obey_last_commands(&mut self) {
        for source in [Source::Control, Source::Winsz] {
            // A read takes part of what a fifo can hold; who writes for ever is left.
            for _ in 0..LAST_READS {
                if !self.on_control(source) {
                    break;
                }
            }
        }
    }

    /// Resizes the terminal, or remembers to when it comes; without one there is nothing to
    /// resize.
    fn resize(&mut self, rows: u16, columns: u16) {
        if !self.config.terminal {
            return;
        }
        match &self.terminal.outer {
            None => self.terminal.wanted = Some((rows, columns)),
            Some(terminal) => {
                if let Err(errno) = sys::tty::set_size(terminal.as_fd(), rows, columns) {
                    self.diag.warn_errno("Failed to set process pty terminal size", errno);
                }
            }
        }
    }

    fn on_oom(&mut self, look: impl Fn(&mut OomWatch, &Diagnostics) -> bool) {
        let Phase::Running { oom, .. } = &mut self.phase else { return };
        if oom.as_mut().is_some_and(|watch| !look(watch, self.diag)) {
            *oom = None;
        }
    }

    fn accept(&mut self, now: Duration) {
        if let Some(attach) = &mut self.attach {
            attach.accept(now, self.diag);
        }
    }
}
