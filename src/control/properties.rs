//! Control lines against a naive oracle, written in pieces of any size.

use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;

use super::*;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn quiet() -> Diagnostics {
    let diagnostics = Diagnostics::new(Level::Error, None);
    diagnostics.leave_stderr();
    diagnostics
}

/// Leading numbers, as `sscanf(line, "%d %d %d")` reads them, of any size.
fn naive_numbers(line: &[u8], wanted: usize) -> Option<Vec<i128>> {
    let text: String =
        line.iter().take_while(|byte| **byte != 0).map(|byte| *byte as char).collect();
    let mut rest = text.as_str();
    let mut numbers = Vec::new();
    while numbers.len() < wanted {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
        let sign = usize::from(rest.starts_with(['+', '-']));
        let digits = rest[sign..].chars().take_while(char::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let (number, after) = rest.split_at(sign + digits);
        let beyond = if number.starts_with('-') { i128::MIN } else { i128::MAX };
        numbers.push(number.parse().unwrap_or(beyond));
        rest = after;
    }
    Some(numbers)
}

fn naive(kind: Kind, line: &[u8]) -> Option<Command> {
    let size = |numbers: &[i128]| {
        let [rows, columns] = [numbers[0], numbers[1]];
        let fits = [rows, columns].iter().all(|number| (0..=1000).contains(number));
        fits.then_some(Command::Resize { rows: rows as u16, columns: columns as u16 })
    };
    match kind {
        Kind::WindowSize => size(&naive_numbers(line, 2)?),
        Kind::Control => {
            let numbers = naive_numbers(line, 3)?;
            let resize = size(&numbers[1..])?;
            match numbers[0] {
                1 => Some(resize),
                2 => Some(Command::ReopenLogs),
                _ => None,
            }
        }
    }
}

/// A line without its newline.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let side = || prop_oneof![-2..1003_i64, proptest::sample::select(vec![-1, 0, 999, 1000, 1001])];
    prop_oneof![
        4 => (0..4_i64, side(), side())
            .prop_map(|(kind, rows, columns)| format!("{kind} {rows} {columns}").into_bytes()),
        2 => "[ \t\r]{0,2}[+-]?[0-9]{0,3}[ \t]{0,2}[+-]?[0-9]{1,4}[ ]{0,3}[+-]?[0-9]{0,22}[a-z ]{0,4}"
            .prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>().prop_filter("newline", |byte| *byte != b'\n'), 0..40),
        1 => (100..199_usize).prop_map(|length| vec![b' '; length]),
    ]
}

/// `bytes` in pieces that end after the given lengths, again and again.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What one fifo makes of `bytes`, read after each of the pieces.
fn commands(kind: Kind, bytes: &[u8], lengths: &[usize]) -> Vec<Command> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let mut fifo = ControlFifo::create(&path, kind, &quiet()).unwrap();
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    let mut commands = Vec::new();
    for piece in pieces(bytes, lengths) {
        writer.write_all(piece).unwrap();
        let waiting = |fifo: &ControlFifo| crate::sys::socket::waiting_bytes(fifo.fd().unwrap());
        while waiting(&fifo).unwrap() > 0 {
            fifo.read(&quiet(), |command| commands.push(command));
        }
    }
    commands
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_line_means_what_scanf_reads(line in line(), control in any::<bool>()) {
        let kind = if control { Kind::Control } else { Kind::WindowSize };
        prop_assert_eq!(parse(kind, &line, &quiet()).ok(), naive(kind, &line));
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn every_line_is_read_whole_however_it_is_written(
        lines in prop::collection::vec(line(), 0..12),
        lengths in prop::collection::vec(1..300_usize, 1..6),
        control in any::<bool>(),
    ) {
        let kind = if control { Kind::Control } else { Kind::WindowSize };
        let bytes: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        let expected: Vec<_> = lines.iter().filter_map(|line| naive(kind, line)).collect();
        prop_assert_eq!(commands(kind, &bytes, &lengths), expected);
    }

    #[test]
    fn an_over_long_line_costs_itself_only(
        lines in prop::collection::vec((line(), 0..700_usize), 1..8),
        lengths in prop::collection::vec(1..300_usize, 1..6),
    ) {
        let mut bytes = Vec::new();
        for (line, long) in &lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
            // No part of it is a message.
            bytes.extend(std::iter::repeat_n(b'A', *long));
            bytes.push(b'\n');
        }
        let expected: Vec<_> = lines.iter().filter_map(|line| naive(Kind::Control, &line.0)).collect();
        prop_assert_eq!(commands(Kind::Control, &bytes, &lengths), expected);
    }
}
