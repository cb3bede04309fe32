//! A container that notifies, and a service manager that comes and goes.

use super::dice::Dice;
use crate::facts::DEADLINE;
use std::collections::VecDeque;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Fewer than a socket holds.
const AT_ONCE: usize = 6;

/// Both ends of the relay.
pub struct Notifier {
    container: UnixDatagram,
    host_path: PathBuf,
    host: Option<UnixDatagram>,
    /// The service manager does not read for now.
    paused: bool,
    /// Calls of the relay are refused, or were since everything was last heard.
    lossy: bool,
    next: u64,
    /// What was said and has not come, and whether it must.
    said: VecDeque<(u64, bool)>,
    heard: usize,
}

impl Notifier {
    pub fn bind(host_path: &Path) -> UnixDatagram {
        let host = UnixDatagram::bind(host_path).unwrap();
        host.set_nonblocking(true).unwrap();
        host
    }

    pub fn new(socket: &Path, host_path: &Path, host: UnixDatagram) -> Self {
        let container = UnixDatagram::unbound().unwrap();
        container.connect(socket).unwrap();
        container.set_nonblocking(true).unwrap();
        let (host_path, host) = (host_path.into(), Some(host));
        let (said, next, heard) = (VecDeque::new(), 0, 0);
        Self { container, host_path, host, paused: false, lossy: false, next, said, heard }
    }

    pub fn act(&mut self, dice: &mut Dice) {
        match dice.below(12) {
            0 => self.send(b""),
            1 => {
                let junk = [b"X\0", &dice.bytes(200)[..]].concat();
                self.send(&junk);
            }
            2 => self.send(&[b'M'; 60_000]),
            3 => {
                // More than both sockets hold: what is lost is lost, what comes is in order.
                for _ in 0..40 {
                    self.say("", false);
                }
                self.doubt();
            }
            4 => {
                self.doubt();
                self.paused = !self.paused;
            }
            5 => {
                self.doubt();
                match self.host.take() {
                    Some(_) => fs::remove_file(&self.host_path).unwrap(),
                    None => self.host = Some(Self::bind(&self.host_path)),
                }
            }
            6 => self.say("MAINPID=1\nFDSTORE=1\n", true),
            _ => self.say("", true),
        }
        self.pump();
    }

    fn send(&self, datagram: &[u8]) {
        // A full socket says so.
        let _ = self.container.send(datagram);
    }

    fn say(&mut self, before: &str, due: bool) {
        let due =
            due && self.host.is_some() && !self.paused && !self.lossy && self.said.len() < AT_ONCE;
        if self.container.send(format!("{before}STATUS={}", self.next).as_bytes()).is_ok() {
            self.said.push_back((self.next, due));
            self.next += 1;
        }
        // Those before it may be in the way.
        if !due {
            self.doubt();
        }
    }

    /// From now on what is said may be lost, until everybody has settled.
    pub fn may_lose(&mut self) {
        self.lossy = true;
        self.doubt();
    }

    fn doubt(&mut self) {
        self.said.iter_mut().for_each(|said| said.1 = false);
    }

    #[track_caller]
    pub fn pump(&mut self) {
        let Some(host) = self.host.as_ref().filter(|_| !self.paused) else { return };
        let mut buffer = [0; 4096];
        while let Ok(length) = host.recv(&mut buffer) {
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            let number = text.strip_prefix("STATUS=").and_then(|rest| rest.parse().ok());
            let number: u64 = number.unwrap_or_else(|| panic!("nobody said {text:?}"));
            loop {
                let (said, due) = self.said.pop_front().expect("something that was said");
                if said == number {
                    break;
                }
                assert!(said < number && !due, "{said} is lost or late, {number} has come");
            }
            self.heard += 1;
        }
    }

    /// The service manager is there and listens: what is said now is heard.
    #[track_caller]
    pub fn settle(&mut self) {
        if self.host.is_none() {
            self.host = Some(Self::bind(&self.host_path));
        }
        (self.paused, self.lossy) = (false, false);
        let start = Instant::now();
        let before = self.next;
        while self.next == before {
            // Late ones may come before it.
            self.said.iter_mut().for_each(|said| said.1 = false);
            self.pump();
            self.say("", false);
            assert!(start.elapsed() < DEADLINE, "the relay does not take anything");
        }
        while self.said.iter().any(|said| said.0 == before) {
            self.pump();
            assert!(start.elapsed() < DEADLINE, "{before} is not heard");
        }
    }

    pub fn heard(&self) -> usize {
        self.heard
    }
}
