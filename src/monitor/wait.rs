//! What the monitor waits for, and until when.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::{Monitor, Phase};
use crate::attach::{Attach, ClientId};
use crate::cgroup::oom::OomWatch;
use crate::control::ControlFifo;
use crate::notify::NotifyProxy;
use crate::stdio::console::ConsoleSocket;
use crate::stdio::output::Output;
use crate::stream::Stream;
use crate::sys;
use crate::sys::poll::PollSet;

/// What can become ready. Names a thing, not a descriptor: one that went away in the same
/// turn is then simply not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Console,
    Listener,
    Client(ClientId),
    Stdin,
    Control,
    Winsz,
    Notify,
    Oom,
    Journal,
    Output(Stream),
    Container,
}

/// How long to wait when waiting itself fails (out of kernel memory), instead of spinning.
const WAIT_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// Waits until something of `poll` is ready or `timeout` has passed, and says what is.
///
/// Where the wait fails nobody knows what is ready; then all are said to be. Whoever answers
/// has to bear that nothing is, which nothing here does by blocking.
pub(super) fn wait(
    poll: &mut PollSet<Source>,
    timeout: Option<Duration>,
    ready: &mut Vec<(Source, PollFlags)>,
) {
    match poll.wait(timeout) {
        Ok(()) => poll.ready_into(ready),
        Err(errno) => {
            if errno != Errno::EINTR {
                sys::time::sleep(WAIT_FAILED_PAUSE);
            }
            poll.all_into(ready);
        }
    }
}

impl Monitor<'_> {
    /// Says what to wait for, in the order in which it is answered: output before the
    /// container's end. New clients come last, since that is the order in which the kernel looks:
    /// output that is there when it looks at their socket cannot have been caused by one of whom
    /// it then knows nothing. They are answered first all the same.
    pub(super) fn interests(&self, poll: &mut PollSet<Source>, now: Duration) {
        let input = PollFlags::POLLIN;
        let mut add = |fd: Option<BorrowedFd<'_>>, events, source| {
            if let Some(fd) = fd {
                poll.add(fd, events, source);
            }
        };
        add(self.signals.fd(now), input, Source::Signals);
        add(self.console.as_ref().and_then(ConsoleSocket::fd), input, Source::Console);
        if let Some(attach) = &self.attach {
            for (id, fd, events) in attach.clients(&self.stdin) {
                add(Some(fd), events, Source::Client(id));
            }
        }
        if let Some((fd, events)) = self.stdin.poll() {
            add(Some(fd), events, Source::Stdin);
        }
        add(self.control.as_ref().and_then(ControlFifo::fd), input, Source::Control);
        if self.terminal.outer.is_some() {
            add(self.winsz.as_ref().and_then(ControlFifo::fd), input, Source::Winsz);
        }
        add(self.notify.as_ref().map(NotifyProxy::fd), input, Source::Notify);
        for sink in self.log.blocked_on() {
            add(Some(sink), PollFlags::POLLOUT, Source::Journal);
        }
        if self.takes_output() {
            // A terminal's output waits for the container, whose it is.
            let creating = matches!(self.phase, Phase::Creating { .. });
            let stdout = self.stdout.as_ref().filter(|_| !(creating && self.config.terminal));
            for output in [stdout, self.stderr.as_ref()].into_iter().flatten() {
                add(output.fd(now), input, Source::Output(output.stream()));
            }
        }
        if let Phase::Running { container, oom, .. } = &self.phase {
            add(oom.as_ref().and_then(OomWatch::fd), input, Source::Oom);
            if let Some((fd, events)) = container.interest() {
                add(Some(fd), events, Source::Container);
            }
        }
        add(self.attach.as_ref().and_then(|attach| attach.listener(now)), input, Source::Listener);
    }

    /// Whether output may be read: not while somebody it goes to cannot take more.
    pub(super) fn takes_output(&self) -> bool {
        !self.log.is_blocked() && !self.attach.as_ref().is_some_and(Attach::is_congested)
    }

    /// The nearest moment at which something must be done unasked.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.work.reaping {
            return Some(Duration::ZERO);
        }
        let running = match &self.phase {
            Phase::Running { container, timeout, oom } => {
                [container.deadline(), *timeout, oom.as_ref().and_then(OomWatch::deadline)]
            }
            _ => [None; 3],
        };
        let attach = self.attach.as_ref().and_then(Attach::deadline);
        let [stdout, stderr] =
            [&self.stdout, &self.stderr].map(|output| output.as_ref().and_then(Output::deadline));
        let others = [self.signals.deadline(), self.work.release_at, attach, stdout, stderr];
        running.into_iter().chain(others).flatten().min()
    }
}
