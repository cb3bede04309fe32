//! A journal that takes entries as fast as they come and only counts them.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::problem::Problem;

pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Larger than any entry the monitors send as a datagram.
const ENTRY_BYTES: usize = 256 * 1024;

/// The running journal; dropping it ends it.
pub struct Journal {
    bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    pub fn start() -> Result<Self, Problem> {
        let _ = std::fs::remove_file(SOCKET);
        let socket = UnixDatagram::bind(SOCKET).map_err(Problem::io(SOCKET))?;
        let bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut entry = vec![0; ENTRY_BYTES];
            while let Ok(length @ 1..) = socket.recv(&mut entry) {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        Ok(Self { bytes, thread: Some(thread) })
    }

    /// How many bytes have come, fields included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // An empty entry is the sign to stop.
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(&[], SOCKET));
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
