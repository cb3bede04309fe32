//! The end of a run by a signal: in order, after what is in progress, with worlds removed and reports written.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::sys;

/// A signal is for the whole process, and so is what it asks for.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Has the first of the usual signals ask for the end; the next one ends the process at once.
pub fn on_signals() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // A signal that cannot be caught ends us as it always did.
        let _ = sys::call_once_at(signal, ask);
    }
}

extern "C" fn ask(_signal: i32) {
    ASKED.store(true, Ordering::Relaxed);
}

/// Whether the run is to end.
#[must_use]
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
