//! The file in which the runtime hands over the container's pid.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::failure::{Failure, concat};
use crate::sys;

/// How much of the file is looked at.
const LONGEST: u64 = 4096;

/// Reads the container's pid from the file at `path`.
///
/// # Errors
///
/// The file cannot be read, or does not begin with a positive decimal number.
pub(crate) fn read(path: &Path) -> Result<Pid, Failure> {
    let quoted = concat(&["“".as_bytes(), path.as_os_str().as_bytes(), "”".as_bytes()]);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        // An open fails for a directory only when it is read.
        let verb: &[u8] = if errno == Errno::EISDIR { b"read from" } else { b"open" };
        let reason = sys::errno::describe(errno);
        Failure::new(concat(&[b"Failed to ", verb, b" file ", &quoted, b": ", reason.as_bytes()]))
    })?;
    parse(&bytes).ok_or_else(|| {
        let seen = String::from_utf8_lossy(bytes.get(..32).unwrap_or(&bytes)).into_owned();
        Failure::new(concat(&[
            b"No valid pid in file ",
            &quoted,
            b": ",
            format!("{seen:?}").as_bytes(),
        ]))
    })
}

/// The number at the start of `bytes`: blanks, a plus sign and what follows the digits are
/// passed over, as atoi(3) does.
pub(crate) fn parse(bytes: &[u8]) -> Option<Pid> {
    let text = bytes.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let mut digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.try_fold(0_i32, |number, digit| {
        number.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    });
    number.filter(|number| *number > 0).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(b"1234", Some(1234))]
    #[case::newline(b"1234\n", Some(1234))]
    #[case::blanks_and_sign(b" \t+7", Some(7))]
    #[case::trailing_text(b"12abc", Some(12))]
    #[case::garbage(b"abc", None)]
    #[case::negative(b"-5", None)]
    #[case::zero(b"0", None)]
    #[case::empty(b"", None)]
    #[case::overflow(b"99999999999", None)]
    fn takes_a_positive_number_only(#[case] bytes: &[u8], #[case] expected: Option<i32>) {
        assert_eq!(parse(bytes).map(Pid::as_raw), expected);
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        assert!(read(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn names_the_missing_file_as_the_reference_does() {
        let failure = read(Path::new("/nonexistent/pidfile")).unwrap_err();
        assert_eq!(
            failure.sentence(),
            "Failed to open file “/nonexistent/pidfile”: No such file or directory".as_bytes()
        );
    }
}
