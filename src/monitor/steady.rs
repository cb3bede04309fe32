//! The wait of a monitor whose container prints a line now and then: nothing but its output
//! happens, so that what to wait for stays the same.
//!
//! After a few turns of lines alone the kernel keeps the set. It is given up at whatever else
//! happens, before that is answered, by a turn as usual: so no descriptor of it is ever closed or
//! wanted otherwise while it is kept.
//!
//! poll(2) looks at descriptors in the order of the set, epoll(7) in that in which they became
//! ready. So a wait that tells of a line that is new, and of no client, tells as much as one that
//! looks at the clients' socket last: a client that came before the line became ready before it.

use super::wait::Source;
use super::{Monitor, Phase};
use crate::attach::Attach;
use crate::stdio::output::Output;
use crate::sys::poll::PollSet;

/// How many turns in a row lines alone must have come: to let the kernel keep the set costs as
/// much as a few waits.
const TURNS: u32 = 16;

/// How long nothing but lines has come, and what the kept set was made for.
#[derive(Default)]
pub(super) struct Steady {
    turns: u32,
    outputs: usize,
    clients: Option<(u64, usize)>,
    /// New clients are waited for too.
    listens: bool,
    /// The last read may have taken more than the wait before it told of: what the next one calls
    /// news may be that.
    mixed: bool,
}

impl Steady {
    /// A turn begins. One that does more than pass on lines begins the count anew.
    pub(super) fn turn(&mut self) {
        self.turns = self.turns.saturating_add(1);
    }

    /// Takes note of what was read: `is_one_write`, or perhaps more.
    pub(super) fn read(&mut self, is_one_write: bool) {
        self.mixed |= !is_one_write;
    }
}

impl Monitor<'_> {
    /// Lets the kernel keep `poll`, which has just been made and waits without a limit, if lines
    /// alone have come for long enough. Otherwise, and where the kernel refuses, nothing changes.
    pub(super) fn becomes_steady(&mut self, poll: &mut PollSet<Source>) -> bool {
        if self.work.steady.turns < TURNS || !matches!(self.phase, Phase::Running { .. }) {
            return false;
        }
        self.work.steady = Steady {
            turns: 0,
            outputs: self.outputs(),
            clients: self.attach.as_ref().map(Attach::population),
            listens: poll.watches(Source::Listener),
            mixed: true,
        };
        let is_output = |source| matches!(source, Source::Output(_));
        self.takes_output() && poll.keep(is_output).is_ok()
    }

    /// Waits once for a line in the set that the kernel keeps, and passes it on. `false`: it is
    /// something else, for a turn as usual.
    pub(super) fn steady_turn(&mut self) -> bool {
        let Some((Source::Output(stream), news)) = self.work.poll.wait_kept() else { return false };
        let steady = &mut self.work.steady;
        self.work.nobody_new = steady.listens && news && !steady.mixed;
        steady.mixed = false;
        self.on_output(stream);
        self.work.nobody_new = false;
        if !self.is_steady() {
            self.work.poll.clear();
            self.on_deadline();
        }
        true
    }

    /// Whether what to wait for is still what it was: nothing to be done later, all streams, the
    /// same clients, and nobody who cannot take more.
    fn is_steady(&self) -> bool {
        let before = &self.work.steady;
        let attach = self.attach.as_ref();
        !self.work.worked_hard
            && !self.log.is_blocked()
            && self.outputs() == before.outputs
            && attach.map(Attach::population) == before.clients
            && !attach.is_some_and(|attach| attach.has_queued() || attach.deadline().is_some())
    }

    /// How many streams there are that do not rest.
    fn outputs(&self) -> usize {
        let outputs = [self.stdout.as_ref(), self.stderr.as_ref()];
        outputs.into_iter().flatten().filter(|output| Output::deadline(output).is_none()).count()
    }
}
