//! Values that are not text, or not in the locale's character set.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rstest::rstest;

use super::harness::{Candidate, Reference, Run, Subject, Which};

fn run(which: Which, locale: &str, option: &str, value: &[u8]) -> Run {
    let line = ["-c", "x", "-u", "y", option].map(OsStr::new);
    let line = line.into_iter().chain([OsStr::from_bytes(value)]);
    Run::new(which, line).env("LC_ALL", locale)
}

/// GLib's parser refuses what it cannot convert to UTF-8; ours takes bytes.
#[rstest]
#[case::no_utf8("C.UTF-8", b"f\xff")]
#[case::cut_off_sequence("C.UTF-8", b"f\xc3")]
#[case::no_utf8_in_ascii("C", b"f\xff")]
#[case::utf8_in_ascii("C", b"f\xc3\xa9")]
#[case::utf8_in_posix("POSIX", b"f\xc3\xa9")]
#[case::utf8_in_an_unknown_locale("xx_YY", b"f\xc3\xa9")]
fn a_value_outside_the_character_set(
    #[case] locale: &str,
    #[case] value: &[u8],
    #[values(Reference, Candidate)] which: Which,
) {
    let run = run(which, locale, "-r", value);
    match which {
        Reference => {
            let text = "conmon: option parsing failed: Invalid byte sequence in conversion input\n";
            if run.subject.prints_parse_errors_on_stdout() {
                run.prints(1, text, "")
            } else {
                run.prints(1, "", text)
            }
        }
        Candidate => {
            let head = b"[conmon:e]: Runtime path ";
            let tail = b" is not valid No such file or directory\n";
            run.prints(1, "", [&head[..], value, tail].concat())
        }
    };
}

#[rstest]
fn utf8_in_its_locale(#[values(Reference, Candidate)] which: Which) {
    let text = "[conmon:e]: Runtime path fé is not valid No such file or directory\n";
    run(which, "C.UTF-8", "-r", "fé".as_bytes()).prints(1, "", text);
}

/// Numbers are never converted: they only have to be numbers.
#[rstest]
fn a_number_outside_the_character_set(#[values(Reference, Candidate)] which: Which) {
    let quoted = [&b"\xe2\x80\x9c"[..], b"\xff", b"\xe2\x80\x9d"].concat();
    let head = b"conmon: option parsing failed: Cannot parse integer value ";
    let text = [&head[..], &quoted, b" for -T\n"].concat();
    let run = run(which, "C.UTF-8", "-T", b"\xff");
    if run.subject.prints_parse_errors_on_stdout() {
        run.prints(1, text, "");
    } else {
        run.prints(1, "", text);
    }
}

#[rstest]
#[case::long(b"--b\xff")]
#[case::long_with_value(b"--b\xff=\xfe")]
#[case::cluster(b"-i\xff")]
#[case::letter_of_two_bytes(b"-\xc3\xa9")]
fn an_unknown_option_is_shown_as_it_is(
    #[case] element: &[u8],
    #[values(Reference, Candidate)] which: Which,
) {
    let head = b"conmon: option parsing failed: Unknown option ";
    let text = [&head[..], element, b"\n"].concat();
    let run = Run::new(which, [OsStr::from_bytes(element)]);
    if run.subject.prints_parse_errors_on_stdout() {
        run.prints(1, text, "");
    } else {
        run.prints(1, "", text);
    }
}

#[rstest]
fn positionals_may_be_anything(#[values(Reference, Candidate)] which: Which) {
    let line = [&b"\xff\xfe"[..], b"--version", b"--", b"--\xff"].map(OsStr::from_bytes);
    Run::new(which, line).prints(0, Subject::get(which).version_text.as_str(), "");
}

/// Whatever the locale, the texts are the English ones in UTF-8.
#[rstest]
#[case::help("--help")]
#[case::version("--version")]
#[case::unknown_option("--bogus")]
#[case::no_number("--timeout=x")]
fn the_locale_changes_no_text(#[case] element: &str) {
    let output = |locale: &str| {
        let mut command = std::process::Command::new(&Subject::get(Candidate).path);
        let output = command.arg(element).env("LC_ALL", locale).env("LANGUAGE", "de").output();
        let output = output.unwrap();
        (output.status.code(), output.stdout, output.stderr)
    };
    let expected = output("C.UTF-8");
    for locale in ["C", "POSIX", "xx_YY", "de_DE.UTF-8"] {
        assert_eq!(output(locale), expected, "{locale}");
    }
}
