//! What a player is at, and its end should it hang.

use std::sync::Mutex;
use std::time::Instant;

/// What the player is at, for whoever has to end it.
static AT: Mutex<String> = Mutex::new(String::new());

fn whereabouts() -> String {
    AT.lock().map(|at| at.clone()).unwrap_or_default()
}

/// Notes what the player is at.
pub fn now_at(what: &str) {
    if let Ok(mut at) = AT.lock() {
        what.clone_into(&mut at);
    }
}

/// Ends this process, and with it the world, should the driver itself hang.
///
/// # Errors
///
/// No thread can be started.
pub fn end_at(deadline: Instant) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        eprintln!("the player did not end in time, at {}", whereabouts());
        std::process::abort();
    });
    thread.map(|_| ())
}
