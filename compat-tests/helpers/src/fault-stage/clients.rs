//! Attach clients, and what reached whom.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::lives::Life;
use crate::outcome::Delivery;
use crate::place::BUNDLE;

/// How long a client tries to reach the monitor.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

pub fn connect_client() -> Option<OwnedFd> {
    let end = Instant::now() + PATIENCE;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC;
        let client = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).ok()?;
        let address = UnixAddr::new(format!("{BUNDLE}/attach").as_str()).ok()?;
        match connect(client.as_raw_fd(), &address) {
            Ok(()) => return Some(client),
            Err(_) if Instant::now() < end => std::thread::sleep(LOOK),
            Err(_) => return None,
        }
    }
}

/// Everything until the end, packet after packet, each after its tag.
pub fn read_packets(client: &OwnedFd) -> Vec<u8> {
    let mut received = Vec::new();
    let mut packet = vec![0; 10_000];
    while let Ok(length @ 1..) = nix::unistd::read(client, &mut packet) {
        // The length goes before, so that the packets can be told apart.
        received.extend_from_slice(&u32::try_from(length).unwrap_or_default().to_le_bytes());
        received.extend_from_slice(&packet[..length]);
    }
    received
}

fn packets(received: &[u8]) -> Vec<(u8, &[u8])> {
    let mut packets = Vec::new();
    let mut rest = received;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or_default();
        let Some((packet, after)) = behind.split_at_checked(length) else { break };
        if let Some((tag, text)) = packet.split_first() {
            packets.push((*tag, text));
        }
        rest = after;
    }
    packets
}

/// Standard output first, then standard error.
pub fn without_tags(received: &[u8]) -> Vec<u8> {
    let of = |wanted: u8| {
        let packets = packets(received).into_iter().filter(move |packet| packet.0 == wanted);
        packets.flat_map(|packet| packet.1.to_vec()).collect::<Vec<u8>>()
    };
    [of(2), of(3)].concat()
}

pub fn delivery(expected: &[u8], received: &[u8]) -> Delivery {
    let right = expected.iter().zip(received).take_while(|(a, b)| a == b).count();
    Delivery { expected_bytes: expected.len(), right_bytes: right, differs: received.len() > right }
}

/// What the log files say of each stream, and how many records are torn.
pub fn read_logs() -> (Vec<u8>, Vec<u8>, usize) {
    const HEAD: usize = "2025-11-21T22:37:47.123456789+01:00 stdout F ".len();
    let (mut out, mut err, mut torn) = (Vec::new(), Vec::new(), 0);
    for file in Life::log_files() {
        let text = fs::read(file).unwrap_or_default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let stream = line.get(HEAD - 9..HEAD).map(|head| (&head[..6], head[7], head[8]));
            let content = line.get(HEAD..).and_then(|content| content.strip_suffix(b"\n"));
            match (stream, content) {
                (
                    Some((name @ (b"stdout" | b"stderr"), tag @ (b'F' | b'P'), b' ')),
                    Some(content),
                ) => {
                    let to = if name == b"stdout" { &mut out } else { &mut err };
                    to.extend_from_slice(content);
                    to.extend((tag == b'F').then_some(b'\n'));
                }
                _ => torn += 1,
            }
        }
    }
    (out, err, torn)
}
