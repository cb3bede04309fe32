//! The bytes of a journal entry, in the native protocol and the original's field order.
//!
//! Everything behind the message is the same for all entries of a kind and made only once.
//! Source: systemd's "Native Journal Protocol".

use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::unix::ffi::OsStrExt;

use crate::config::LogConfig;

/// The parts of an entry: head of the message, pending text, new text, all other fields.
pub(crate) const PIECES: usize = 4;

/// How much of the container's id is its short form.
pub(crate) const SHORT_ID_BYTES: usize = 12;

const PRIORITIES: usize = 8;

/// What the constant part of an entry depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) priority: u8,
    /// Whether the message lacks its newline.
    pub(crate) partial: bool,
}

/// The priority of a text that begins with `<0>` to `<7>`.
pub(crate) fn split_priority(text: &[u8]) -> Option<u8> {
    match text {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => Some(digit - b'0'),
        _ => None,
    }
}

/// What stands before the message's bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct MessageHead {
    bytes: [u8; 16],
    count: usize,
}

impl MessageHead {
    /// A message that ends in its newline needs the binary form.
    pub(crate) fn new(length: usize, kind: Kind) -> Self {
        if kind.partial {
            return Self { bytes: *b"MESSAGE=\0\0\0\0\0\0\0\0", count: 8 };
        }
        let mut bytes = *b"MESSAGE\n\0\0\0\0\0\0\0\0";
        let length = (length as u64).to_le_bytes();
        bytes.iter_mut().skip(8).zip(length).for_each(|(to, from)| *to = from);
        Self { bytes, count: 16 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }
}

/// All fields but the message.
pub(crate) struct Fields {
    before_priority: Vec<u8>,
    after_priority: Vec<u8>,
    partial: &'static [u8],
    trailer: Vec<u8>,
    /// By priority, the whole messages' first.
    tails: [Option<Box<[u8]>>; 2 * PRIORITIES],
}

impl Fields {
    pub(crate) fn new(cid: &OsStr, config: &LogConfig) -> Self {
        let cid = cid.as_bytes();
        let short_id = cid.get(..SHORT_ID_BYTES).unwrap_or(cid);
        let tag = config.tag.as_ref().map(|tag| tag.as_bytes());
        let name = config.name.as_ref().map(|name| name.as_bytes());
        // The newline ends the message's field.
        let mut before_priority = b"\n".to_vec();
        put(&mut before_priority, b"CONTAINER_ID_FULL", cid);
        before_priority.extend_from_slice(b"PRIORITY=");
        let mut after_priority = b"\n".to_vec();
        put(&mut after_priority, b"CONTAINER_ID", short_id);
        if let Some(tag) = tag {
            put(&mut after_priority, b"CONTAINER_TAG", tag);
        }
        if let Some(name) = name {
            put(&mut after_priority, b"CONTAINER_NAME", name);
        }
        put(&mut after_priority, b"SYSLOG_IDENTIFIER", tag.or(name).unwrap_or(short_id));
        let mut trailer = Vec::new();
        for label in &config.labels {
            let mut parts = label.as_bytes().splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default();
            put(&mut trailer, name, parts.next().unwrap_or_default());
        }
        // The place in the original's source, which its library adds to every entry.
        put(&mut trailer, b"CODE_FILE", b"src/ctr_logging.c");
        put(&mut trailer, b"CODE_LINE", b"467");
        put(&mut trailer, b"CODE_FUNC", b"write_journald");
        let partial: &[u8] =
            if config.no_partial_message { b"" } else { b"CONTAINER_PARTIAL_MESSAGE=true\n" };
        Self { before_priority, after_priority, partial, trailer, tails: Default::default() }
    }

    /// Makes the constant part of entries of this kind, once.
    pub(crate) fn prepare(&mut self, kind: Kind) {
        let Some(tail @ None) = self.tails.get_mut(index(kind)) else { return };
        let digit = [b'0' + kind.priority];
        let partial = if kind.partial { self.partial } else { b"" };
        let parts =
            [&self.before_priority, &digit[..], &self.after_priority, partial, &self.trailer];
        *tail = Some(parts.concat().into());
    }

    /// An entry of a kind that has been prepared.
    pub(crate) fn entry<'a>(
        &'a self,
        head: &'a MessageHead,
        pending: &'a [u8],
        text: &'a [u8],
        kind: Kind,
    ) -> [IoSlice<'a>; PIECES] {
        let tail = self.tails.get(index(kind)).and_then(Option::as_deref).unwrap_or_default();
        [head.bytes(), pending, text, tail].map(IoSlice::new)
    }
}

fn index(kind: Kind) -> usize {
    usize::from(kind.priority) + if kind.partial { PRIORITIES } else { 0 }
}

/// Appends a field: as text, or with its length if the value holds a newline.
fn put(fields: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    fields.extend_from_slice(name);
    if value.contains(&b'\n') {
        fields.push(b'\n');
        fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        fields.push(b'=');
    }
    fields.extend_from_slice(value);
    fields.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn whole(config: &LogConfig, pending: &[u8], text: &[u8], kind: Kind) -> String {
        let mut fields = Fields::new(OsStr::new("0123456789abcdef"), config);
        fields.prepare(kind);
        let head = MessageHead::new(pending.len() + text.len(), kind);
        String::from_utf8(fields.entry(&head, pending, text, kind).concat_pieces()).unwrap()
    }

    trait ConcatPieces {
        fn concat_pieces(&self) -> Vec<u8>;
    }

    impl ConcatPieces for [IoSlice<'_>; PIECES] {
        fn concat_pieces(&self) -> Vec<u8> {
            self.iter().flat_map(|piece| piece.to_vec()).collect()
        }
    }

    const CODE: &str = "CODE_FILE=src/ctr_logging.c\nCODE_LINE=467\nCODE_FUNC=write_journald\n";

    #[test]
    fn a_line_carries_its_newline_in_the_binary_form() {
        let kind = Kind { priority: 6, partial: false };
        let expected = "MESSAGE\n\x06\0\0\0\0\0\0\0hello\n\n\
            CONTAINER_ID_FULL=0123456789abcdef\nPRIORITY=6\nCONTAINER_ID=0123456789ab\n\
            SYSLOG_IDENTIFIER=0123456789ab\n";
        let entry = whole(&LogConfig::default(), b"hel", b"lo\n", kind);
        assert_eq!(entry, format!("{expected}{CODE}"));
    }

    #[rstest]
    #[case::marked(false, "CONTAINER_PARTIAL_MESSAGE=true\n")]
    #[case::unmarked(true, "")]
    fn a_partial_entry_has_every_optional_field_in_order(
        #[case] no_partial_message: bool,
        #[case] mark: &str,
    ) {
        let config = LogConfig {
            tag: Some("the tag".into()),
            name: Some("the name".into()),
            labels: vec!["A_1=x".into(), "B=".into(), "C=two\nlines".into()],
            no_partial_message,
            ..LogConfig::default()
        };
        let kind = Kind { priority: 3, partial: true };
        let expected = format!(
            "MESSAGE=part\nCONTAINER_ID_FULL=0123456789abcdef\nPRIORITY=3\n\
            CONTAINER_ID=0123456789ab\nCONTAINER_TAG=the tag\nCONTAINER_NAME=the name\n\
            SYSLOG_IDENTIFIER=the tag\n{mark}A_1=x\nB=\nC\n\x09\0\0\0\0\0\0\0two\nlines\n{CODE}"
        );
        assert_eq!(whole(&config, b"", b"part", kind), expected);
    }

    #[rstest]
    #[case::lowest(b"<0>zero", Some(0))]
    #[case::highest(b"<7>", Some(7))]
    #[case::out_of_range(b"<8>x", None)]
    #[case::behind_a_blank(b" <3>x", None)]
    #[case::cut_short(b"<3", None)]
    #[case::two_digits(b"<11>", None)]
    fn priority_is_three_bytes_at_the_very_start(
        #[case] text: &[u8],
        #[case] expected: Option<u8>,
    ) {
        assert_eq!(split_priority(text), expected);
    }
}
