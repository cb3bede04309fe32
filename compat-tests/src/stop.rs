//! The end of a run before its time: in order, after what is in progress, with worlds removed and reports written.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::Signal;

use crate::sys;

/// A signal is for the whole process, and so is what it asks for.
static ASKED: AtomicU8 = AtomicU8::new(0);

/// Why a run ends before everything was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    Signal = 1,
    /// The kernel refused another process.
    Processes = 2,
    /// A case failed, and one failure was to be enough.
    Failure = 3,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "stopped by a signal",
            Self::Processes => "out of processes",
            Self::Failure => "stopped at the first failure",
        })
    }
}

/// Has the first of the usual signals ask for the end; the next one ends the process at once.
pub fn on_signals() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // A signal that cannot be caught ends us as it always did.
        let _ = sys::call_once_at(signal, ask);
    }
}

extern "C" fn ask(_signal: i32) {
    because(Reason::Signal);
}

/// Asks for the end. The first reason stays.
pub fn because(reason: Reason) {
    let _ = ASKED.compare_exchange(0, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
}

/// Why the run is to end, if it is.
#[must_use]
pub fn reason() -> Option<Reason> {
    let reasons = [Reason::Signal, Reason::Processes, Reason::Failure];
    let asked = ASKED.load(Ordering::Relaxed);
    reasons.into_iter().find(|reason| *reason as u8 == asked)
}

/// Whether the run is to end.
#[must_use]
pub fn asked() -> bool {
    reason().is_some()
}
