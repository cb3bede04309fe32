//! The form of `--log-label`, which becomes a journal field.

use crate::failure::{Failure, concat};

/// Refuses what is not `LABEL=VALUE` with a name that the journal takes.
pub(crate) fn check(label: &[u8]) -> Result<(), Failure> {
    let wrong = |before: &[u8], after: &[u8]| Err(Failure::new(concat(&[before, label, after])));
    if label.first() == Some(&b'=') {
        return wrong(
            b"Container labels must be in format LABEL=VALUE (no LABEL present in '",
            b"')",
        );
    }
    let mut parts = label.split(|byte| *byte == b'=');
    let (Some(name), Some(_), None) = (parts.next(), parts.next(), parts.next()) else {
        return wrong(
            b"Container labels must be in format LABEL=VALUE (none or more than one '=' present in '",
            b"')",
        );
    };
    if !name.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
        return wrong(
            b"Container label names must contain only uppercase letters, numbers and underscore (in '",
            b"')",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain(b"NAME=value")]
    #[case::empty_value(b"A_1=")]
    #[case::odd_bytes_in_the_value(b"A=\xff\n ")]
    fn accepts(#[case] label: &[u8]) {
        assert_eq!(check(label), Ok(()));
    }

    #[rstest]
    #[case::no_name(
        b"=a",
        "Container labels must be in format LABEL=VALUE (no LABEL present in '=a')"
    )]
    #[case::no_name_is_found_first(
        b"=a=b",
        "Container labels must be in format LABEL=VALUE (no LABEL present in '=a=b')"
    )]
    #[case::empty(
        b"",
        "Container labels must be in format LABEL=VALUE (none or more than one '=' present in '')"
    )]
    #[case::no_value(
        b"A",
        "Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A')"
    )]
    #[case::two(
        b"A=b=c",
        "Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A=b=c')"
    )]
    #[case::lower_case(
        b"Ab=c",
        "Container label names must contain only uppercase letters, numbers and underscore (in 'Ab=c')"
    )]
    fn refuses(#[case] label: &[u8], #[case] text: &str) {
        let failure = check(label).unwrap_err();
        assert_eq!(String::from_utf8_lossy(failure.text().bytes()), text);
    }
}
