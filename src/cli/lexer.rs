//! Scans a command line as GLib's option parser does and spells it canonically.
//!
//! Which options exist and what they take is read from the table. The result holds only
//! `--name` and `--name=value`, with integers in decimal, which means the same to every
//! parser. The first error in scanning order ends the scan.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::integer::{self, IntegerError};
use super::table::{Kind, ROWS, Row};

/// What a scan that found no error ended with.
#[derive(Debug)]
pub(super) enum Lexed {
    Canonical(Line),
    /// Help was asked for; what follows on the line was not looked at.
    Help,
}

/// A line in its canonical spelling.
#[derive(Debug)]
pub(super) struct Line {
    /// Begins with a stand-in for argv\[0\].
    pub(super) argv: Vec<OsString>,
    /// The options that occur in it, each once.
    pub(super) used: Vec<&'static Row>,
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

/// Scans `args`, which are without argv\[0\].
pub(super) fn scan(mut args: impl Iterator<Item = OsString>) -> Result<Lexed, LexError> {
    let mut line = Line { argv: vec![OsString::new()], used: Vec::new() };
    while let Some(element) = args.next() {
        let next = match element.as_bytes() {
            b"--" => break,
            [b'-', b'-', long @ ..] => line.long(&element, long, &mut args)?,
            // A dash alone is a cluster of nothing.
            [b'-', letters @ ..] => line.cluster(&element, letters, &mut args)?,
            _ => Next::Scan,
        };
        if next == Next::Help {
            return Ok(Lexed::Help);
        }
    }
    Ok(Lexed::Canonical(line))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Scan,
    Help,
}

impl Line {
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
        let row = ROWS.iter().find(|row| row.has_long(name)).ok_or_else(unknown)?;
        match (row.kind, attached) {
            (Kind::Help, None) => return Ok(Next::Help),
            (Kind::Help, Some(_)) => return Err(unknown()),
            // The value of a flag is not even looked at.
            (Kind::Flag, _) => self.push(row, None),
            _ => {
                let option = || String::from_utf8_lossy(&[b"--", name].concat()).into_owned();
                let value = attached
                    .map(|value| OsStr::from_bytes(value).to_owned())
                    .or_else(|| args.next())
                    .ok_or_else(|| LexError::MissingArgument { option: option() })?;
                self.value(row, value, option)?;
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
            let row = ROWS
                .iter()
                .find(|row| row.has_short(letter))
                .ok_or_else(|| LexError::Unknown { element: element.to_owned() })?;
            match row.kind {
                Kind::Help => return Ok(Next::Help),
                Kind::Flag => self.push(row, None),
                _ => {
                    let option = || format!("-{}", char::from(letter));
                    if taken {
                        return Err(LexError::SecondArgument { option: option() });
                    }
                    taken = true;
                    let value = args
                        .next()
                        .ok_or_else(|| LexError::MissingArgument { option: option() })?;
                    self.value(row, value, option)?;
                }
            }
        }
        Ok(Next::Scan)
    }

    fn value(
        &mut self,
        row: &'static Row,
        value: OsString,
        option: impl Fn() -> String,
    ) -> Result<(), LexError> {
        let range = match row.kind {
            Kind::Int => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Kind::LongInt => i64::MIN..=i64::MAX,
            Kind::Help | Kind::Flag | Kind::Text | Kind::Texts => {
                self.push(row, Some(value.as_bytes()));
                return Ok(());
            }
        };
        match integer::parse(value.as_bytes(), range) {
            Ok(number) => {
                self.push(row, Some(number.to_string().as_bytes()));
                Ok(())
            }
            Err(IntegerError::NotANumber) => {
                Err(LexError::NotAnInteger { option: option(), value })
            }
            Err(IntegerError::OutOfRange) => Err(LexError::OutOfRange { option: option(), value }),
        }
    }

    fn push(&mut self, row: &'static Row, value: Option<&[u8]>) {
        let (equals, value): (&[u8], _) = value.map_or((b"", &b""[..]), |value| (b"=", value));
        let element = [b"--", row.long.as_bytes(), equals, value].concat();
        self.argv.push(OsString::from_vec(element));
        if !self.used.iter().any(|used| used.long == row.long) {
            self.used.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn argv(scanned: Result<Lexed, LexError>) -> Vec<OsString> {
        match scanned {
            Ok(Lexed::Canonical(line)) => line.argv,
            other => panic!("{other:?}"),
        }
    }

    fn scan_line(args: &[&str]) -> Result<Lexed, LexError> {
        scan(args.iter().map(OsString::from))
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
        let expected: Vec<_> = [""].iter().chain(expected).map(OsString::from).collect();
        assert_eq!(argv(scan_line(line)), expected);
    }

    #[test]
    fn lists_each_option_of_the_line_once() {
        let Ok(Lexed::Canonical(line)) = scan_line(&["-i", "-lt", "a", "--log-path=b", "-i"])
        else {
            panic!("not a line");
        };
        let used: Vec<_> = line.used.iter().map(|row| row.long).collect();
        assert_eq!(used, ["stdin", "log-path", "terminal"]);
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
        assert!(matches!(scan_line(line), Ok(Lexed::Help)));
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
        let scanned = scan(line.into_iter());
        assert_eq!(argv(scanned), expected);
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
        let error = scan(line.into_iter()).unwrap_err();
        assert_eq!(error.text(), text);
    }
}
