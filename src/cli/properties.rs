//! The lexer and its integers against naive oracles, on lines that nobody would think of.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use proptest::prelude::*;
use proptest::sample::select;

use super::integer::{self, IntegerError};
use super::lexer::{self, LexError, Lexed};
use super::table::{Kind, ROWS, Row};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The value of `text` as strtol(3) with base 0 describes it, by the standard library's parser.
fn naive_integer(text: &str) -> Option<i128> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (sign, text) = match text.chars().next()? {
        '-' => (-1, &text[1..]),
        '+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if lower.starts_with('0') => (8, lower.as_str()),
        None => (10, lower.as_str()),
    };
    // The parser would take a sign of its own.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(i128::from_str_radix(digits, radix).map_or(sign * i128::MAX, |number| sign * number))
}

fn expected_integer(text: &str, least: i64, greatest: i64) -> Result<i64, IntegerError> {
    let value = naive_integer(text).ok_or(IntegerError::NotANumber)?;
    i64::try_from(value)
        .ok()
        .filter(|value| (least..=greatest).contains(value))
        .ok_or(IntegerError::OutOfRange)
}

fn integer_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ \t\n\r\x0b\x0c]{0,2}[+-]{0,2}(0[xX]?)?[0-9a-fA-FgG]{0,20}[ x]?",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| format!("{number}")),
        any::<i64>().prop_map(|number| format!("-{:#x}", number.unsigned_abs())),
        any::<i64>().prop_map(|number| format!("0{:o}", number.unsigned_abs())),
        any::<i32>().prop_map(|number| (i64::from(number) * 2).to_string()),
    ]
}

/// One option of a line as its writer means it, and how it is spelled.
#[derive(Clone, Debug)]
enum Element {
    Option {
        row: usize,
        value: Vec<u8>,
        spelling: usize,
    },
    /// Flags in one cluster, and perhaps an option with a value at some place among them.
    Cluster {
        flags: Vec<usize>,
        valued: Option<(usize, Vec<u8>, usize)>,
    },
    Positional(Vec<u8>),
}

fn rows(wanted: impl Fn(&Row) -> bool) -> Vec<usize> {
    (0..ROWS.len()).filter(|row| wanted(&ROWS[*row])).collect()
}

fn takes_value(row: &Row) -> bool {
    !matches!(row.kind, Kind::Help | Kind::Flag)
}

fn value_of(row: &Row) -> BoxedStrategy<Vec<u8>> {
    match row.kind {
        Kind::Int => any::<i32>().prop_map(|number| number.to_string().into_bytes()).boxed(),
        Kind::LongInt => any::<i64>().prop_map(|number| number.to_string().into_bytes()).boxed(),
        // Values that look like options are the point.
        _ => prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            select(vec!["--", "-", "--help", "-it", "--cid=x", "a=b", ""])
                .prop_map(|value| value.as_bytes().to_vec()),
        ]
        .boxed(),
    }
}

fn element() -> impl Strategy<Value = Element> {
    let option = select(rows(|row| row.kind != Kind::Help)).prop_flat_map(|row| {
        (Just(row), value_of(&ROWS[row]), 0..8_usize)
            .prop_map(|(row, value, spelling)| Element::Option { row, value, spelling })
    });
    let flags = select(rows(|row| row.kind == Kind::Flag && row.short.is_some()));
    let valued = select(rows(|row| takes_value(row) && row.short.is_some()))
        .prop_flat_map(|row| (Just(row), value_of(&ROWS[row]), 0..4_usize));
    let cluster = (prop::collection::vec(flags, 1..4), proptest::option::of(valued))
        .prop_map(|(flags, valued)| Element::Cluster { flags, valued });
    let positional = prop::collection::vec(any::<u8>(), 0..6)
        .prop_filter("an option", |bytes| !bytes.starts_with(b"-") || bytes.len() == 1)
        .prop_map(Element::Positional);
    prop_oneof![4 => option, 2 => cluster, 1 => positional]
}

fn canonical(row: &Row, value: &[u8]) -> Vec<u8> {
    let name = [b"--", row.long.as_bytes()].concat();
    if takes_value(row) { [&name, &b"="[..], value].concat() } else { name }
}

/// What the element is on the command line, and what it must come to.
fn spell(element: &Element, line: &mut Vec<Vec<u8>>, expected: &mut Vec<Vec<u8>>) {
    match element {
        Element::Positional(bytes) => line.push(bytes.clone()),
        Element::Option { row, value, spelling } => {
            let row = &ROWS[*row];
            expected.push(canonical(row, value));
            let long = if spelling % 2 == 0 { row.long } else { row.alias.unwrap_or(row.long) };
            let long = [b"--", long.as_bytes()].concat();
            match (spelling / 2, row.short) {
                (0, Some(letter)) => {
                    line.push(vec![b'-', letter]);
                    line.extend(takes_value(row).then(|| value.clone()));
                }
                (1, _) if takes_value(row) => line.extend([long, value.clone()]),
                // The value of a flag is not looked at.
                (2, _) if !takes_value(row) => line.push([&long, &b"=no"[..]].concat()),
                _ if takes_value(row) => line.push([&long, &b"="[..], value].concat()),
                _ => line.push(long),
            }
        }
        Element::Cluster { flags, valued } => {
            let mut letters = vec![b'-'];
            let place = valued.as_ref().map(|(_, _, place)| place % (flags.len() + 1));
            for at in 0..=flags.len() {
                if let Some((row, value, _)) = valued.as_ref().filter(|_| place == Some(at)) {
                    letters.extend(ROWS[*row].short);
                    expected.push(canonical(&ROWS[*row], value));
                }
                if let Some(row) = flags.get(at) {
                    letters.extend(ROWS[*row].short);
                    expected.push(canonical(&ROWS[*row], b""));
                }
            }
            line.push(letters);
            line.extend(valued.as_ref().map(|(_, value, _)| value.clone()));
        }
    }
}

fn scan(line: &[Vec<u8>]) -> Result<Lexed, LexError> {
    lexer::scan(line.iter().cloned().map(OsString::from_vec))
}

fn argv(scanned: Lexed) -> Option<Vec<Vec<u8>>> {
    let Lexed::Canonical(line) = scanned else { return None };
    Some(line.argv.iter().skip(1).map(|element| element.as_bytes().to_vec()).collect())
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn integers_are_those_of_strtol(text in integer_text(), wide in any::<bool>()) {
        let (least, greatest) =
            if wide { (i64::MIN, i64::MAX) } else { (i32::MIN.into(), i32::MAX.into()) };
        let expected = expected_integer(&text, least, greatest);
        prop_assert_eq!(integer::parse(text.as_bytes(), least..=greatest), expected, "{:?}", text);
    }

    #[test]
    fn integers_of_any_bytes_are_numbers_or_refused(text in prop::collection::vec(any::<u8>(), 0..24)) {
        let expected = match std::str::from_utf8(&text) {
            Ok(text) => expected_integer(text, i64::MIN, i64::MAX),
            Err(_) => Err(IntegerError::NotANumber),
        };
        prop_assert_eq!(integer::parse(&text, i64::MIN..=i64::MAX), expected);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn every_spelling_comes_to_what_its_writer_means(
        elements in prop::collection::vec(element(), 0..12),
        end in proptest::option::of(prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..4),
                select(vec!["--stdin", "-t", "--bogus", "--help", "-c"])
                    .prop_map(|word| word.as_bytes().to_vec()),
            ],
            0..3,
        )),
    ) {
        let (mut line, mut expected) = (Vec::new(), Vec::new());
        elements.iter().for_each(|element| spell(element, &mut line, &mut expected));
        if let Some(after) = end {
            line.push(b"--".to_vec());
            line.extend(after);
        }
        let scanned = scan(&line).map_err(|error| format!("{error:?} of {line:?}"));
        prop_assert_eq!(argv(scanned.unwrap()), Some(expected));
    }

    /// One letter after the other; the first that does not fit decides.
    #[test]
    fn a_cluster_ends_at_the_first_letter_that_does_not_fit(
        letters in "[a-zA-Z0-9?=]{1,5}", values in prop::collection::vec("[a-z0-9]{0,2}", 0..2),
    ) {
        let mut values_left = values.iter();
        let mut taken = false;
        let mut expected = Ok(Vec::new());
        for letter in letters.bytes() {
            let Ok(words) = &mut expected else { break };
            let option = format!("-{}", char::from(letter));
            let element = format!("-{letters}").into();
            let row = ROWS.iter().find(|row| [row.short, row.short_alias].contains(&Some(letter)));
            let failed = match row.map(|row| row.kind) {
                None => LexError::Unknown { element },
                Some(Kind::Help) => {
                    words.clear();
                    words.push(b"help".to_vec());
                    break;
                }
                Some(Kind::Flag) => {
                    words.push(canonical(row.unwrap(), b""));
                    continue;
                }
                Some(_) if taken => LexError::SecondArgument { option },
                Some(kind) => match values_left.next() {
                    None => LexError::MissingArgument { option },
                    Some(value) => {
                        taken = true;
                        let number = expected_integer(value, i32::MIN.into(), i32::MAX.into());
                        match (kind, number) {
                            (Kind::Int, Ok(number)) => {
                                words.push(canonical(row.unwrap(), number.to_string().as_bytes()));
                                continue;
                            }
                            (Kind::Int, Err(_)) => LexError::NotAnInteger { option, value: value.into() },
                            _ => {
                                words.push(canonical(row.unwrap(), value.as_bytes()));
                                continue;
                            }
                        }
                    }
                },
            };
            expected = Err(failed);
        }
        let line: Vec<Vec<u8>> =
            std::iter::once(format!("-{letters}")).chain(values).map(String::into_bytes).collect();
        let seen = scan(&line).map(|lexed| argv(lexed).unwrap_or_else(|| vec![b"help".to_vec()]));
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_line_is_refused_or_comes_to_a_line_that_stays_as_it_is(
        line in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6),
            "-[a-zA-Z0?=]{0,4}".prop_map(String::into_bytes),
            "--[a-z=-]{0,8}".prop_map(String::into_bytes),
            (select((0..ROWS.len()).collect::<Vec<_>>()), "=?[0-9a-z]{0,3}")
                .prop_map(|(row, rest)| format!("--{}{rest}", ROWS[row].long).into_bytes()),
        ], 0..8),
    ) {
        if let Ok(Some(canonical)) = scan(&line).map(argv) {
            let again = scan(&canonical).map_err(|error| format!("{error:?}")).map(argv);
            prop_assert_eq!(again, Ok(Some(canonical)));
        }
        // What the table's parser makes of it is never a failure of its own.
        let typed = line.into_iter().map(OsString::from_vec);
        match super::parse(std::iter::once("conmon".into()).chain(typed)) {
            super::Outcome::Refuse(text) => {
                prop_assert!(text.starts_with(b"conmon: option parsing failed: "));
                let inner = text.strip_prefix(b"conmon: option parsing failed: ").unwrap();
                let ours = [&b"Unknown option "[..], b"Missing argument for ", b"Error parsing option ",
                    b"Cannot parse integer value ", b"Integer value "];
                prop_assert!(ours.iter().any(|start| inner.starts_with(start)));
            }
            super::Outcome::Run(_) | super::Outcome::Print(_) => {}
        }
    }
}
