//! Those who only listen: the journal, the system log, the service manager, and whoever reads
//! the launched process's own streams.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::place::{JOURNAL, NOTIFY_HOST, SYSLOG};

/// What has been heard so far, datagram by datagram.
#[derive(Debug, Default)]
pub struct Heard {
    pub journal: Vec<Vec<u8>>,
    pub syslog: Vec<Vec<u8>>,
    pub notify: Vec<Vec<u8>>,
    /// Standard output and error of the launched process.
    pub streams: Vec<u8>,
}

pub struct Peers {
    heard: Arc<Mutex<Heard>>,
}

impl Peers {
    /// Binds all of them and listens in the background.
    pub fn listen() -> Result<Self> {
        let sockets = [JOURNAL, SYSLOG, NOTIFY_HOST].map(UnixDatagram::bind);
        let [journal, syslog, notify] = sockets;
        let sockets = [journal?, syslog?, notify?];
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 100_000];
            loop {
                let mut polled =
                    sockets.each_ref().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
                if poll(&mut polled, PollTimeout::NONE).is_err() {
                    continue;
                }
                for (at, socket) in sockets.iter().enumerate() {
                    if !polled[at].any().unwrap_or(false) {
                        continue;
                    }
                    let Ok(length) = socket.recv(&mut buffer) else { continue };
                    let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let list = match at {
                        0 => &mut heard.journal,
                        1 => &mut heard.syslog,
                        _ => &mut heard.notify,
                    };
                    list.push(buffer[..length].to_vec());
                }
            }
        });
        Ok(Self { heard })
    }

    /// Reads what comes from a pipe, in the background.
    pub fn read_stream(&self, pipe: OwnedFd) {
        let shared = Arc::clone(&self.heard);
        std::thread::spawn(move || {
            let mut pipe = File::from(pipe);
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
                heard.streams.extend_from_slice(&buffer[..length]);
            }
        });
    }

    pub fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// The monitor's own words, line by line, without times.
    pub fn said(&self) -> Vec<String> {
        let mut said: Vec<String> =
            String::from_utf8_lossy(&self.streams).lines().map(String::from).collect();
        for datagram in &self.syslog {
            let text = String::from_utf8_lossy(datagram);
            let text = text.trim_end_matches(['\n', '\0']);
            let start = text.find(": conmon ").or_else(|| text.find("]: ")).unwrap_or_default();
            said.push(text.get(start..).unwrap_or(text).trim_start_matches(": ").to_owned());
        }
        said
    }

    /// The texts of the journal's entries by priority: 6 is standard output, 3 standard error.
    pub fn journal_texts(&self) -> BTreeMap<String, Vec<u8>> {
        let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for datagram in &self.journal {
            let fields = fields(datagram);
            let priority = fields.get("PRIORITY").map(|p| String::from_utf8_lossy(p).into_owned());
            let text = fields.get("MESSAGE").cloned().unwrap_or_default();
            texts.entry(priority.unwrap_or_default()).or_default().extend(text);
        }
        texts
    }
}

/// The fields of an entry in the journal's native protocol.
fn fields(mut rest: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'=' | b'\n')) {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let behind = &rest[end + 1..];
        let (value, after) = if rest[end] == b'=' {
            let length = behind.iter().position(|byte| *byte == b'\n').unwrap_or(behind.len());
            behind.split_at(length)
        } else {
            let Some((length, text)) = behind.split_first_chunk::<8>() else { break };
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            text.split_at(length.min(text.len()))
        };
        fields.insert(name, value.to_vec());
        rest = after.get(1..).unwrap_or_default();
    }
    fields
}
