//! Waiting for facts, and the time.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two looks at a fact.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits for a fact; true if it came in time.
pub fn until(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if fact() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Nanoseconds since the epoch.
#[must_use]
pub fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
