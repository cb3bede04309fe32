//! Reports against a JSON parser that is not ours, and against a naive reader for the words
//! that are no UTF-8.

use std::io::Read;

use proptest::prelude::*;

use super::*;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![Just(Key::Data), Just(Key::ExitCode), Just(Key::Pid)]
}

/// The string that begins with the quote at `text`, byte by byte.
fn unescape(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = text.strip_prefix(b"\"")?.iter();
    let mut string = Vec::new();
    loop {
        match bytes.next()? {
            b'"' => return Some((string, bytes.as_slice())),
            b'\\' => string.push(match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'u' => {
                    let (digits, rest) = bytes.as_slice().split_at_checked(4)?;
                    bytes = rest.iter();
                    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
                }
                same => *same,
            }),
            byte if *byte < b' ' => return None,
            byte => string.push(*byte),
        }
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_report_is_json_to_any_parser(key in key(), value in any::<i32>(), message in "[\\x00-\\x7f\u{80}-\u{10ffff}]{0,40}") {
        let json = render(key.word(), value, message.as_bytes());
        prop_assert_eq!(json.last_chunk(), Some(b"}\n"));
        prop_assert_eq!(json.iter().filter(|byte| **byte == b'\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut expected = serde_json::Map::new();
        expected.insert(key.word().to_owned(), value.into());
        let before_nul = message.split('\0').next().unwrap();
        if !before_nul.is_empty() {
            expected.insert("message".to_owned(), before_nul.into());
        }
        prop_assert_eq!(parsed, serde_json::Value::Object(expected));
    }

    #[test]
    fn words_of_any_encoding_come_back(value in any::<i32>(), message in prop::collection::vec(1..=255_u8, 1..200)) {
        let json = render("data", value, &message);
        let start = format!("{{\"data\": {value}, \"message\": ");
        let text = json.strip_prefix(start.as_bytes()).unwrap();
        prop_assert_eq!(unescape(text), Some((message, &b"}\n"[..])));
        // Callers have come to see these escaped, which JSON does not demand.
        prop_assert!(!text.contains(&0x7f));
        let slashes = text.windows(2).filter(|pair| pair[1] == b'/');
        prop_assert!(slashes.clone().all(|pair| pair[0] == b'\\'));
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_report_arrives_whole_in_packets_that_fit(
        value in any::<i32>(),
        message in prop::collection::vec(any::<u8>(), 0..12_000),
    ) {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let mut pipe = SyncPipe::new(Some(ours), Key::Data);
        prop_assert_eq!(pipe.report(value, &message), Ok(()));
        drop(pipe);
        let mut reader = std::fs::File::from(theirs);
        let mut whole = Vec::new();
        let mut packet = [0; 2 * PACKET_BYTES];
        loop {
            let length = reader.read(&mut packet).unwrap();
            if length == 0 {
                break;
            }
            prop_assert!(length <= PACKET_BYTES);
            whole.extend_from_slice(&packet[..length]);
        }
        prop_assert_eq!(whole, render("data", value, &message));
    }
}
