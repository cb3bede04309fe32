//! Clocks and the local time zone.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the epoch.
pub(crate) fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Time on the clock that deadlines are measured with; it never steps.
pub(crate) fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> Duration {
    // Both clocks exist on every Linux; a zero would only end a wait early.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Breaks `seconds` since the epoch down into local wall-clock time.
///
/// Returns `None` when the year does not fit, the one failure localtime_r(3) knows. The zone
/// comes from `TZ` or the system; an unknown one counts as UTC.
pub(crate) fn local_time(seconds: libc::time_t) -> Option<libc::tm> {
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the whole call and localtime_r keeps neither.
    let filled = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: a non-null result means that every field has been written.
    (!filled.is_null()).then(|| unsafe { parts.assume_init() })
}
