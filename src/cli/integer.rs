//! Integers as strtol(3) with base 0 reads them, but nothing may follow.

use std::ops::RangeInclusive;

/// Why a value is no acceptable integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntegerError {
    NotANumber,
    OutOfRange,
}

/// Reads white space, a sign and digits: hexadecimal after `0x`, octal after `0`.
pub(super) fn parse(text: &[u8], range: RangeInclusive<i64>) -> Result<i64, IntegerError> {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = text.get(blanks..).unwrap_or_default();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (base, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    if digits.is_empty() {
        return Err(IntegerError::NotANumber);
    }
    let mut magnitude: i128 = 0;
    for &byte in digits {
        let digit = char::from(byte).to_digit(base).ok_or(IntegerError::NotANumber)?;
        // Saturates far beyond every range, so that the rest is still checked for digits.
        magnitude = magnitude.saturating_mul(base.into()).saturating_add(digit.into());
    }
    let value = if negative { -magnitude } else { magnitude };
    let value = i64::try_from(value).map_err(|_| IntegerError::OutOfRange)?;
    if range.contains(&value) { Ok(value) } else { Err(IntegerError::OutOfRange) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::IntegerError::{NotANumber, OutOfRange};
    use super::*;

    #[rstest]
    #[case::decimal("7", Ok(7))]
    #[case::zero("0", Ok(0))]
    #[case::negative_zero("-0", Ok(0))]
    #[case::hexadecimal("0x10", Ok(16))]
    #[case::hexadecimal_capital("0XfF", Ok(255))]
    #[case::octal("010", Ok(8))]
    #[case::only_zeros("000", Ok(0))]
    #[case::negative_hexadecimal("-0x10", Ok(-16))]
    #[case::plus("+3", Ok(3))]
    #[case::blank_before(" 7", Ok(7))]
    #[case::all_white_space_before("\t\n\x0b\x0c\r 7", Ok(7))]
    #[case::blank_before_sign(" -7", Ok(-7))]
    #[case::greatest("9223372036854775807", Ok(i64::MAX))]
    #[case::least("-9223372036854775808", Ok(i64::MIN))]
    #[case::empty("", Err(NotANumber))]
    #[case::blank(" ", Err(NotANumber))]
    #[case::word("abc", Err(NotANumber))]
    #[case::junk_after("12abc", Err(NotANumber))]
    #[case::blank_after("7 ", Err(NotANumber))]
    #[case::no_octal_digit("08", Err(NotANumber))]
    #[case::binary("0b1", Err(NotANumber))]
    #[case::exponent("1e3", Err(NotANumber))]
    #[case::fraction("1.5", Err(NotANumber))]
    #[case::no_hexadecimal_digits("0x", Err(NotANumber))]
    #[case::no_hexadecimal_digit("0x1g", Err(NotANumber))]
    #[case::sign_after_base("0x-1", Err(NotANumber))]
    #[case::unit("1k", Err(NotANumber))]
    #[case::only_sign("-", Err(NotANumber))]
    #[case::two_signs("+-3", Err(NotANumber))]
    #[case::blank_after_sign("- 3", Err(NotANumber))]
    #[case::overflow_with_junk("99999999999999999999x", Err(NotANumber))]
    #[case::one_too_great("9223372036854775808", Err(OutOfRange))]
    #[case::one_too_small("-9223372036854775809", Err(OutOfRange))]
    #[case::beyond_every_type(
        "9999999999999999999999999999999999999999999999999999999999999999",
        Err(OutOfRange)
    )]
    fn reads_what_strtol_reads(#[case] text: &str, #[case] expected: Result<i64, IntegerError>) {
        assert_eq!(parse(text.as_bytes(), i64::MIN..=i64::MAX), expected);
    }

    #[rstest]
    #[case::greatest("2147483647", Ok(2_147_483_647))]
    #[case::least("-2147483648", Ok(-2_147_483_648))]
    #[case::one_too_great("2147483648", Err(OutOfRange))]
    #[case::one_too_small("-2147483649", Err(OutOfRange))]
    #[case::all_bits_set("0xffffffff", Err(OutOfRange))]
    fn keeps_to_the_range(#[case] text: &str, #[case] expected: Result<i64, IntegerError>) {
        let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
        assert_eq!(parse(text.as_bytes(), range), expected);
    }
}
