//! Scans a command line as GLib's option parser does and spells it canonically.
//!
//! Which options exist and what they take is read from the table. The result holds only
//! `--name` and `--name=value`, with integers in decimal, which means the same to every
//! parser. The first error in scanning order ends the scan.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

use super::integer::{self, IntegerError};

/// What a scan that found no error ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lexed {
    /// The whole line, beginning with a stand-in for argv\[0\].
    Canonical(Vec<OsString>),
    /// Help was asked for; what follows on the line was not looked at.
    Help,
}

/// Why a line is refused. `option` is the spelling used, dashes included.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LexError {
    Unknown {
        element: OsString,
    },
    MissingArgument {
        option: String,
    },
    /// A second letter that takes an argument in one cluster.
    SecondArgument {
        option: String,
    },
    NotAnInteger {
        option: String,
        value: OsString,
    },
    OutOfRange {
        option: String,
        value: OsString,
    },
}

impl LexError {
    /// The wording is GLib's, in English and UTF-8 whatever the locale.
    pub(super) fn text(&self) -> Vec<u8> {
        let parts: [&[u8]; 4] = match self {
            Self::Unknown { element } => [b"Unknown option ", element.as_bytes(), b"", b""],
            Self::MissingArgument { option } => {
                [b"Missing argument for ", option.as_bytes(), b"", b""]
            }
            Self::SecondArgument { option } => {
                [b"Error parsing option ", option.as_bytes(), b"", b""]
            }
            Self::NotAnInteger { option, value } => [
                "Cannot parse integer value “".as_bytes(),
                value.as_bytes(),
                "” for ".as_bytes(),
                option.as_bytes(),
            ],
            Self::OutOfRange { option, value } => {
                let start = ["Integer value “".as_bytes(), value.as_bytes()].concat();
                return [&start, "” for ".as_bytes(), option.as_bytes(), b" out of range"].concat();
            }
        };
        parts.concat()
    }
}

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Help,
    Flag,
    Text,
    Int,
    LongInt,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let value = arg.get_value_parser().type_id();
        match arg.get_action() {
            ArgAction::Help => Self::Help,
            ArgAction::SetTrue => Self::Flag,
            _ if value == TypeId::of::<i32>() => Self::Int,
            _ if value == TypeId::of::<i64>() => Self::LongInt,
            _ => Self::Text,
        }
    }
}

/// Scans `args`, which are without argv\[0\].
pub(super) fn scan(
    table: &Command,
    mut args: impl Iterator<Item = OsString>,
) -> Result<Lexed, LexError> {
    let mut scan = Scan { table, argv: vec![OsString::new()] };
    while let Some(element) = args.next() {
        let next = match element.as_bytes() {
            b"--" => break,
            [b'-', b'-', long @ ..] => scan.long(&element, long, &mut args)?,
            [b'-', letters @ ..] if !letters.is_empty() => {
                scan.cluster(&element, letters, &mut args)?
            }
            _ => Next::Scan,
        };
        if next == Next::Help {
            return Ok(Lexed::Help);
        }
    }
    Ok(Lexed::Canonical(scan.argv))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Scan,
    Help,
}

struct Scan<'a> {
    table: &'a Command,
    argv: Vec<OsString>,
}

impl Scan<'_> {
    fn long(
        &mut self,
        element: &OsStr,
        text: &[u8],
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<Next, LexError> {
        let mut halves = text.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default();
        let attached = halves.next();
        let unknown = || LexError::Unknown { element: element.to_owned() };
        let arg = self.table.get_arguments().find(|arg| has_long(arg, name)).ok_or_else(unknown)?;
        let kind = Kind::of(arg);
        match (kind, attached) {
            (Kind::Help, None) => return Ok(Next::Help),
            (Kind::Help, Some(_)) => return Err(unknown()),
            // The value of a flag is not even looked at.
            (Kind::Flag, _) => self.flag(arg),
            _ => {
                let option = || String::from_utf8_lossy(&[b"--", name].concat()).into_owned();
                let value = attached
                    .map(|value| OsStr::from_bytes(value).to_owned())
                    .or_else(|| args.next())
                    .ok_or_else(|| LexError::MissingArgument { option: option() })?;
                self.value(arg, kind, value, option)?;
            }
        }
        Ok(Next::Scan)
    }

    /// One-letter options in a row; one of them may take the next element as its argument.
    fn cluster(
        &mut self,
        element: &OsStr,
        letters: &[u8],
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<Next, LexError> {
        let mut taken = false;
        for &letter in letters {
            let letter = char::from(letter);
            let arg = self
                .table
                .get_arguments()
                .find(|arg| has_short(arg, letter))
                .ok_or_else(|| LexError::Unknown { element: element.to_owned() })?;
            let kind = Kind::of(arg);
            match kind {
                Kind::Help => return Ok(Next::Help),
                Kind::Flag => self.flag(arg),
                _ => {
                    let option = || format!("-{letter}");
                    if taken {
                        return Err(LexError::SecondArgument { option: option() });
                    }
                    taken = true;
                    let value = args
                        .next()
                        .ok_or_else(|| LexError::MissingArgument { option: option() })?;
                    self.value(arg, kind, value, option)?;
                }
            }
        }
        Ok(Next::Scan)
    }

    fn flag(&mut self, arg: &Arg) {
        self.push(arg, None);
    }

    fn value(
        &mut self,
        arg: &Arg,
        kind: Kind,
        value: OsString,
        option: impl Fn() -> String,
    ) -> Result<(), LexError> {
        let range = match kind {
            Kind::Int => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Kind::LongInt => i64::MIN..=i64::MAX,
            Kind::Text | Kind::Flag | Kind::Help => {
                self.push(arg, Some(value.as_bytes()));
                return Ok(());
            }
        };
        match integer::parse(value.as_bytes(), range) {
            Ok(number) => {
                self.push(arg, Some(number.to_string().as_bytes()));
                Ok(())
            }
            Err(IntegerError::NotANumber) => {
                Err(LexError::NotAnInteger { option: option(), value })
            }
            Err(IntegerError::OutOfRange) => Err(LexError::OutOfRange { option: option(), value }),
        }
    }

    fn push(&mut self, arg: &Arg, value: Option<&[u8]>) {
        let name = arg.get_long().unwrap_or_default().as_bytes();
        let element = match value {
            Some(value) => [b"--", name, b"=", value].concat(),
            None => [b"--", name].concat(),
        };
        self.argv.push(OsString::from_vec(element));
    }
}

fn has_long(arg: &Arg, name: &[u8]) -> bool {
    arg.get_long().is_some_and(|long| long.as_bytes() == name)
        || arg
            .get_all_aliases()
            .is_some_and(|aliases| aliases.iter().any(|alias| alias.as_bytes() == name))
}

fn has_short(arg: &Arg, letter: char) -> bool {
    arg.get_short() == Some(letter)
        || arg.get_all_short_aliases().is_some_and(|aliases| aliases.contains(&letter))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cli::table;

    fn scan_line(args: &[&str]) -> Result<Lexed, LexError> {
        scan(&table::command(), args.iter().map(OsString::from))
    }

    #[rstest]
    #[case::nothing(&[], &[])]
    #[case::positional(&["foo", "", "-", "--sync"], &["--sync"])]
    #[case::options_after_positionals(&["--sync", "foo", "--stdin"], &["--sync", "--stdin"])]
    #[case::end_of_options(&["--sync", "--", "--stdin", "--bogus"], &["--sync"])]
    #[case::attached_value(&["--cid=x"], &["--cid=x"])]
    #[case::attached_empty_value(&["--cid="], &["--cid="])]
    #[case::attached_value_with_equals_signs(&["--cid=a=b="], &["--cid=a=b="])]
    #[case::next_value(&["--cid", "x", "y"], &["--cid=x"])]
    #[case::next_value_empty(&["--cid", ""], &["--cid="])]
    #[case::next_value_end_of_options(&["--cid", "--", "--sync"], &["--cid=--", "--sync"])]
    #[case::next_value_option(&["--cid", "--sync"], &["--cid=--sync"])]
    #[case::next_value_help(&["-c", "--help"], &["--cid=--help"])]
    #[case::flag_with_value(&["--stdin=no"], &["--stdin"])]
    #[case::flag_with_empty_value(&["--version="], &["--version"])]
    #[case::flag_takes_no_argument(&["--api-version", "1", "-i"], &["--api-version", "--stdin"])]
    #[case::alias_of_the_pid_file(&["--pidfile", "a"], &["--container-pidfile=a"])]
    #[case::alias_of_the_runtime_option(&["--restore-arg=a"], &["--runtime-opt=a"])]
    #[case::letter(&["-i"], &["--stdin"])]
    #[case::letters(&["-it"], &["--stdin", "--terminal"])]
    #[case::letter_with_value(&["-r", "x"], &["--runtime=x"])]
    #[case::letter_with_dashed_value(&["-r", "-foo"], &["--runtime=-foo"])]
    #[case::letter_with_empty_value(&["-r", ""], &["--runtime="])]
    #[case::digit_as_letter(&["-0", "x"], &["--persist-dir=x"])]
    #[case::value_letter_first(&["-rt", "foo"], &["--runtime=foo", "--terminal"])]
    #[case::value_letter_last(&["-itr", "foo"], &["--stdin", "--terminal", "--runtime=foo"])]
    #[case::number_spelled_anew(&["--log-size-max", " 0x10"], &["--log-size-max=16"])]
    #[case::negative_number(&["-T", "-010"], &["--timeout=-8"])]
    #[case::number_in_a_cluster(&["-Ti", "5"], &["--timeout=5", "--stdin"])]
    fn spells_canonically(#[case] line: &[&str], #[case] expected: &[&str]) {
        let expected = [""].iter().chain(expected).map(OsString::from).collect();
        assert_eq!(scan_line(line), Ok(Lexed::Canonical(expected)));
    }

    #[rstest]
    #[case::long(&["--help"])]
    #[case::all(&["--help-all"])]
    #[case::letter(&["-h"])]
    #[case::question_mark(&["-?"])]
    #[case::before_an_error(&["--help", "--bogus"])]
    #[case::after_version(&["--version", "--help"])]
    #[case::in_a_cluster(&["-ith"])]
    #[case::in_a_cluster_before_an_error(&["-?z"])]
    #[case::after_a_value_in_a_cluster(&["-rh", "x"])]
    fn stops_at_help(#[case] line: &[&str]) {
        assert_eq!(scan_line(line), Ok(Lexed::Help));
    }

    #[rstest]
    #[case::unknown(&["--bogus"], "Unknown option --bogus")]
    #[case::unknown_with_value(&["--bogus=x"], "Unknown option --bogus=x")]
    #[case::unknown_before_help(&["--bogus", "--help"], "Unknown option --bogus")]
    #[case::abbreviation(&["--run", "x"], "Unknown option --run")]
    #[case::negation(&["--no-stdin"], "Unknown option --no-stdin")]
    #[case::capital_letters(&["--Help"], "Unknown option --Help")]
    #[case::three_dashes(&["---x"], "Unknown option ---x")]
    #[case::no_name(&["--=x"], "Unknown option --=x")]
    #[case::help_with_value(&["--help=x"], "Unknown option --help=x")]
    #[case::all_help_with_value(&["--help-all="], "Unknown option --help-all=")]
    #[case::group_help(&["--help-main"], "Unknown option --help-main")]
    #[case::own_group_help(&["--help-conmon"], "Unknown option --help-conmon")]
    #[case::seccomp_socket(&["--seccomp-notify-socket", "x"], "Unknown option --seccomp-notify-socket")]
    #[case::missing(&["--cid"], "Missing argument for --cid")]
    #[case::missing_by_alias(&["--pidfile"], "Missing argument for --pidfile")]
    #[case::missing_by_other_alias(&["--restore-arg"], "Missing argument for --restore-arg")]
    #[case::missing_by_letter(&["-c"], "Missing argument for -c")]
    #[case::attached_to_a_letter(&["-rfoo"], "Missing argument for -r")]
    #[case::attached_to_a_letter_and_more(&["-rfoo", "bar"], "Unknown option -rfoo")]
    #[case::equals_sign_after_a_letter(&["-r=foo"], "Missing argument for -r")]
    #[case::equals_sign_after_a_letter_and_more(&["-r=foo", "x"], "Unknown option -r=foo")]
    #[case::two_values_in_a_cluster(&["-ll", "a", "b"], "Error parsing option -l")]
    #[case::two_different_values(&["-ru", "a", "b"], "Error parsing option -u")]
    #[case::unknown_letter(&["-tz"], "Unknown option -tz")]
    #[case::equals_sign_after_a_flag(&["-i=1"], "Unknown option -i=1")]
    #[case::digit_after_a_flag(&["-i1"], "Unknown option -i1")]
    #[case::no_number(&["--log-max-files=abc"], "Cannot parse integer value “abc” for --log-max-files")]
    #[case::no_number_by_letter(&["-T", ""], "Cannot parse integer value “” for -T")]
    #[case::beyond_32_bits(&["-T", "2147483648"], "Integer value “2147483648” for -T out of range")]
    #[case::beyond_64_bits(
        &["--log-size-max=9223372036854775808"],
        "Integer value “9223372036854775808” for --log-size-max out of range"
    )]
    #[case::first_error_wins(&["-T", "x", "--bogus"], "Cannot parse integer value “x” for -T")]
    fn refuses(#[case] line: &[&str], #[case] text: &str) {
        let error = scan_line(line).unwrap_err();
        assert_eq!(String::from_utf8_lossy(&error.text()), text);
    }

    #[test]
    fn passes_values_of_any_encoding() {
        let line =
            [&b"--cid=\xff"[..], b"-u", b"\xfe"].map(|arg| OsStr::from_bytes(arg).to_owned());
        let expected = [&b""[..], b"--cid=\xff", b"--cuuid=\xfe"];
        let expected = expected.map(|arg| OsStr::from_bytes(arg).to_owned()).to_vec();
        let scanned = scan(&table::command(), line.into_iter());
        assert_eq!(scanned, Ok(Lexed::Canonical(expected)));
    }

    #[rstest]
    #[case::unknown_name(b"--b\xff", b"Unknown option --b\xff")]
    #[case::unknown_letter(b"-i\xc3\xa9", b"Unknown option -i\xc3\xa9")]
    #[case::number(
        b"--timeout=\xff",
        b"Cannot parse integer value \xe2\x80\x9c\xff\xe2\x80\x9d for --timeout"
    )]
    fn shows_bytes_of_any_encoding_as_they_are(#[case] element: &[u8], #[case] text: &[u8]) {
        let line = [OsStr::from_bytes(element).to_owned()];
        let error = scan(&table::command(), line.into_iter()).unwrap_err();
        assert_eq!(error.text(), text);
    }
}
