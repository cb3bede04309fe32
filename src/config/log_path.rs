//! The grammar of `--log-path`: which drivers log, and to which file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::LogConfig;
use crate::failure::{Failure, concat};

/// One value of `--log-path`.
#[derive(Debug, PartialEq, Eq)]
enum Driver {
    K8sFile(PathBuf),
    Journald,
    Passthrough,
    /// Adds nothing and takes nothing away from the other values.
    Nothing,
}

/// Sets the drivers that `values` select.
///
/// # Errors
///
/// What the first malformed value is refused with.
pub(crate) fn select(values: Vec<OsString>, log: &mut LogConfig) -> Result<(), Failure> {
    if values.is_empty() {
        return Err(Failure::new("Log driver not provided. Use --log-path"));
    }
    for value in values {
        match driver(value.as_bytes())? {
            Driver::K8sFile(path) => {
                log.k8s_file = Some(path);
                log.k8s_file_count += 1;
            }
            Driver::Journald => log.journald = true,
            Driver::Passthrough => log.passthrough = true,
            Driver::Nothing => {}
        }
    }
    Ok(())
}

/// Splits `DRIVER:PATH` at colons, of which several in a row count as one and what follows
/// the path is dropped; a path alone means a k8s-file.
fn driver(value: &[u8]) -> Result<Driver, Failure> {
    let mut segments = value.split(|byte| *byte == b':').filter(|segment| !segment.is_empty());
    let Some(name) = segments.next() else {
        return Err(Failure::new("log-path must not be empty"));
    };
    let path = segments.next();
    if path.is_none() && value.starts_with(b":") {
        return Ok(k8s_file(name));
    }
    match (name, path) {
        (b"k8s-file", Some(path)) => Ok(k8s_file(path)),
        (b"k8s-file", None) => Err(Failure::new("k8s-file requires a filename")),
        (b"journald", _) => Ok(Driver::Journald),
        (b"passthrough", _) => Ok(Driver::Passthrough),
        (b"none" | b"off" | b"null", _) => Ok(Driver::Nothing),
        (path, None) if !value.contains(&b':') => Ok(k8s_file(path)),
        (name, _) => Err(Failure::new(concat(&[b"No such log driver ", name]))),
    }
}

fn k8s_file(path: &[u8]) -> Driver {
    Driver::K8sFile(PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file(path: &str) -> Driver {
        k8s_file(path.as_bytes())
    }

    #[rstest]
    #[case::path_alone("/x/log", file("/x/log"))]
    #[case::word_alone("foo", file("foo"))]
    #[case::driver_and_path("k8s-file:/x/log", file("/x/log"))]
    #[case::second_colon_ends_the_path("k8s-file:/x/a:b", file("/x/a"))]
    #[case::no_driver(":/x/log", file("/x/log"))]
    #[case::no_driver_but_two_colons("::/x/log", file("/x/log"))]
    #[case::file_named_journald(":journald", file("journald"))]
    #[case::file_named_none(":none", file("none"))]
    #[case::file_named_off(":off", file("off"))]
    #[case::file_named_passthrough(":passthrough", file("passthrough"))]
    #[case::file_named_k8s_file(":k8s-file", file("k8s-file"))]
    #[case::driver_after_a_colon(":k8s-file:/x/log", file("/x/log"))]
    #[case::several_colons("k8s-file::/x/log", file("/x/log"))]
    #[case::capital_letters("Journald", file("Journald"))]
    #[case::journald("journald", Driver::Journald)]
    #[case::journald_colon("journald:", Driver::Journald)]
    #[case::journald_path("journald:x", Driver::Journald)]
    #[case::none("none", Driver::Nothing)]
    #[case::none_colon("none:", Driver::Nothing)]
    #[case::off("off", Driver::Nothing)]
    #[case::off_path("off:x", Driver::Nothing)]
    #[case::null("null", Driver::Nothing)]
    #[case::passthrough("passthrough", Driver::Passthrough)]
    #[case::passthrough_path("passthrough:x", Driver::Passthrough)]
    fn selects_a_driver(#[case] value: &str, #[case] expected: Driver) {
        assert_eq!(driver(value.as_bytes()), Ok(expected));
    }

    #[rstest]
    #[case::empty("", "log-path must not be empty")]
    #[case::colon(":", "log-path must not be empty")]
    #[case::colons("::", "log-path must not be empty")]
    #[case::no_file("k8s-file", "k8s-file requires a filename")]
    #[case::no_file_after_the_colon("k8s-file:", "k8s-file requires a filename")]
    #[case::unknown_driver("foo:", "No such log driver foo")]
    #[case::unknown_driver_and_path("foo:bar", "No such log driver foo")]
    #[case::unknown_driver_after_a_colon(":foo:bar", "No such log driver foo")]
    #[case::path_as_driver("/a:b:c", "No such log driver /a")]
    #[case::capital_letters("K8S-file:/x", "No such log driver K8S-file")]
    fn refuses(#[case] value: &str, #[case] text: &'static str) {
        assert_eq!(driver(value.as_bytes()), Err(Failure::new(text)));
    }

    fn select_all(values: &[&str]) -> Result<LogConfig, Failure> {
        let mut log = LogConfig::default();
        select(values.iter().map(OsString::from).collect(), &mut log).map(|()| log)
    }

    #[test]
    fn keeps_the_last_of_several_files_and_counts_them() {
        let log = select_all(&["/a", "none", "k8s-file:/b"]).unwrap();
        assert_eq!((log.k8s_file, log.k8s_file_count), (Some(PathBuf::from("/b")), 2));
        assert!(!log.journald && !log.passthrough);
    }

    #[test]
    fn several_drivers_are_active_together() {
        let log = select_all(&["journald", "/a", "passthrough"]).unwrap();
        assert!(log.journald && log.passthrough);
        assert_eq!(log.k8s_file_count, 1);
    }

    #[rstest]
    #[case::none_given(&[], "Log driver not provided. Use --log-path")]
    #[case::the_first_bad_one(&["/a", "foo:bar", ""], "No such log driver foo")]
    fn refuses_the_line(#[case] values: &[&str], #[case] text: &'static str) {
        assert_eq!(select_all(values).unwrap_err(), Failure::new(text));
    }
}
