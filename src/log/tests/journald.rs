//! The journal's side of the socket, played by the tests.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rstest::rstest;

use super::*;
use crate::stream::CHUNK_BYTES;

/// A journal that stores nothing until it is asked to.
pub(super) struct Journal {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

/// What an entry says: its text, priority and whether it is marked as partial.
pub(super) type Entry = (Vec<u8>, u8, bool);

impl Journal {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = bind(dir.path());
        Self { dir, socket }
    }

    pub(super) fn log(&self) -> Journald {
        self.log_with(&LogConfig::default())
    }

    pub(super) fn log_with(&self, config: &LogConfig) -> Journald {
        Journald::new(OsStr::new(CID), config, self.dir.path().join("socket"))
    }

    /// A new socket at the old one's place, as after a restart.
    fn restart(&mut self) {
        std::fs::remove_file(self.dir.path().join("socket")).unwrap();
        // A process that another test is starting may hold the old one for a moment.
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.socket = bind(self.dir.path());
    }

    /// All that has arrived since it was last looked at.
    pub(super) fn datagrams(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| {
            let mut buffer = vec![0; 300_000];
            let mut control = nix::cmsg_space!([libc::c_int; 1]);
            let mut text = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = self.socket.as_raw_fd();
            let message = match recvmsg::<()>(fd, &mut text, Some(&mut control), flags) {
                Err(Errno::EAGAIN) => return None,
                message => message.unwrap(),
            };
            let rights = message.cmsgs().unwrap().next();
            let length = message.bytes;
            Some(match rights {
                Some(ControlMessageOwned::ScmRights(fds)) => sealed_content(fds[0], length),
                _ => buffer[..length].to_vec(),
            })
        })
        .collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.datagrams().iter().map(|datagram| entry(datagram)).collect()
    }

    /// Writes all of `reads` and reads what arrives, as the journal and the monitor do.
    pub(super) fn log_reads(&self, log: &mut Journald, reads: &[(Stream, &[u8])]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (stream, read) in reads {
            log.write(*stream, read, &quiet());
            while log.is_blocked() {
                let arrived = self.entries();
                assert!(!arrived.is_empty(), "blocked by an empty journal");
                entries.extend(arrived);
                log.resume(&quiet());
            }
        }
        // With a full socket nothing could be handed over in no time.
        entries.extend(self.entries());
        log.end_output(&quiet());
        entries.extend(self.entries());
        assert!(!log.is_blocked());
        entries
    }
}

fn bind(dir: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(dir.join("socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What the journal demands of an entry that comes as a file: nobody can change it.
fn sealed_content(fd: libc::c_int, datagram_bytes: usize) -> Vec<u8> {
    assert_eq!(datagram_bytes, 0);
    // Opening it anew avoids claiming ownership of a bare number, and starts at the beginning.
    let mut file = File::open(format!("/proc/self/fd/{fd}")).unwrap();
    let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS).unwrap());
    let expected = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    assert_eq!(seals, expected);
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    content
}

/// Takes an entry apart by the rules of the native protocol.
#[track_caller]
pub(super) fn fields(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap();
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        let value;
        if rest[end] == b'=' {
            let length = rest[end + 1..].iter().position(|byte| *byte == b'\n').unwrap();
            value = &rest[end + 1..end + 1 + length];
            rest = &rest[end + 1 + length + 1..];
        } else {
            let (length, behind) = rest[end + 1..].split_first_chunk::<8>().unwrap();
            let length = u64::from_le_bytes(*length) as usize;
            value = &behind[..length];
            assert_eq!(behind[length], b'\n');
            rest = &behind[length + 1..];
        }
        fields.push((name, value.to_vec()));
    }
    fields
}

#[track_caller]
fn entry(datagram: &[u8]) -> Entry {
    let fields = fields(datagram);
    let of = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &field.1);
    let partial = of("CONTAINER_PARTIAL_MESSAGE");
    assert!(partial.is_none_or(|value| value == b"true"));
    assert_eq!(of("CONTAINER_ID_FULL").unwrap(), CID.as_bytes());
    let priority = of("PRIORITY").unwrap();
    assert_eq!(priority.len(), 1);
    (of("MESSAGE").unwrap().clone(), priority[0] - b'0', partial.is_some())
}

fn lengths(entries: &[Entry]) -> Vec<(usize, u8, bool)> {
    entries.iter().map(|(text, priority, partial)| (text.len(), *priority, *partial)).collect()
}

#[rstest]
#[case::line(&[b"one\n".as_slice()], &[(b"one\n".as_slice(), 6, false)])]
#[case::empty_line(&[b"\n".as_slice()], &[(b"\n".as_slice(), 6, false)])]
#[case::raw_bytes(&[b"\0\xff\r\n".as_slice()], &[(b"\0\xff\r\n".as_slice(), 6, false)])]
#[case::line_in_three_reads(&[b"on".as_slice(), b"e ", b"line\n"], &[(b"one line\n".as_slice(), 6, false)])]
#[case::unended(&[b"one\ntwo".as_slice()], &[(b"one\n".as_slice(), 6, false), (b"two", 6, true)])]
#[case::highest_priority(&[b"<0>zero\n".as_slice()], &[(b"zero\n".as_slice(), 0, false)])]
#[case::no_priority(&[b"<8>x\n <3>x\n<3\n".as_slice()], &[(b"<8>x\n".as_slice(), 6, false), (b" <3>x\n", 6, false), (b"<3\n", 6, false)])]
#[case::nothing_but_a_priority(&[b"<3>\n".as_slice()], &[(b"\n".as_slice(), 3, false)])]
#[case::priority_of_a_kept_piece(&[b"<2>part".as_slice(), b"ial\n"], &[(b"<2>partial\n".as_slice(), 6, false)])]
#[case::priority_of_an_unended_line(&[b"<1>noeol".as_slice()], &[(b"<1>noeol".as_slice(), 6, true)])]
#[case::priority_behind_a_kept_piece(&[b"a".as_slice(), b"<1>b\n<1>c\n"], &[(b"a<1>b\n".as_slice(), 6, false), (b"c\n", 1, false)])]
fn lines_become_entries(#[case] reads: &[&[u8]], #[case] expected: &[(&[u8], u8, bool)]) {
    let journal = Journal::new();
    let reads: Vec<_> = reads.iter().map(|read| (Stream::Stdout, *read)).collect();
    let entries = journal.log_reads(&mut journal.log(), &reads);
    let expected: Vec<Entry> =
        expected.iter().map(|(t, p, partial)| (t.to_vec(), *p, *partial)).collect();
    assert_eq!(entries, expected);
}

#[rstest]
#[case::chunk_and_newline(&[(8192, ""), (0, "\n")], &[(8192, true), (1, false)])]
#[case::three_chunks(&[(20_000, ""), (3, "\n")], &[(8192, true), (8192, true), (3620, false)])]
#[case::reaches_the_limit_with_what_was_kept(&[(3, ""), (8189, "")], &[(8192, true)])]
#[case::stays_below_the_limit(&[(3, ""), (8188, ""), (0, "\n")], &[(8192, false)])]
#[case::exceeds_the_limit(&[(8191, ""), (8192, "")], &[(16_383, true)])]
fn long_lines_become_partial_entries(
    #[case] reads: &[(usize, &str)],
    #[case] expected: &[(usize, bool)],
) {
    let journal = Journal::new();
    let reads: Vec<String> =
        reads.iter().map(|(length, end)| format!("{}{end}", "z".repeat(*length))).collect();
    let reads: Vec<_> = reads.iter().map(|read| (Stream::Stderr, read.as_bytes())).collect();
    let entries = journal.log_reads(&mut journal.log(), &reads);
    let expected: Vec<_> =
        expected.iter().map(|(length, partial)| (*length, 3, *partial)).collect();
    assert_eq!(lengths(&entries), expected);
}

#[test]
fn a_long_chunk_has_its_priority_only_if_nothing_was_kept() {
    let journal = Journal::new();
    let mut chunk = b"<4>".to_vec();
    chunk.resize(8192, b'q');
    let reads = [
        (Stream::Stdout, chunk.as_slice()),
        (Stream::Stdout, b"<4>"),
        (Stream::Stdout, &chunk[3..]),
    ];
    let entries = journal.log_reads(&mut journal.log(), &reads);
    assert_eq!(lengths(&entries), [(8189, 4, true), (8192, 6, true)]);
}

#[test]
fn each_stream_keeps_its_own_unfinished_line() {
    let journal = Journal::new();
    let reads: [(Stream, &[u8]); 4] = [
        (Stream::Stdout, b"out "),
        (Stream::Stderr, b"err "),
        (Stream::Stdout, b"one\nout two"),
        (Stream::Stderr, b"one\nerr two"),
    ];
    let entries = journal.log_reads(&mut journal.log(), &reads);
    let texts: Vec<_> =
        entries.iter().map(|(text, p, _)| (std::str::from_utf8(text).unwrap(), *p)).collect();
    assert_eq!(texts, [("out one\n", 6), ("err one\n", 3), ("out two", 6), ("err two", 3)]);
}

#[test]
fn the_mark_of_partial_entries_can_be_left_out() {
    let journal = Journal::new();
    let config = LogConfig { no_partial_message: true, ..LogConfig::default() };
    let entries = journal.log_reads(&mut journal.log_with(&config), &[(Stream::Stdout, b"text")]);
    assert_eq!(entries, [(b"text".to_vec(), 6, false)]);
}

#[test]
fn a_slow_journal_gets_everything_in_order_whatever_the_reads() {
    let output = varied_output(700_000);
    let logged = |read_bytes: usize| {
        let journal = Journal::new();
        let reads: Vec<_> = output.chunks(read_bytes).map(|read| (Stream::Stdout, read)).collect();
        journal.log_reads(&mut journal.log(), &reads)
    };
    let entries = logged(65_536);
    assert!(entries == logged(CHUNK_BYTES), "long reads and short ones differ");
    let texts: Vec<u8> = entries.into_iter().flat_map(|(text, _, _)| text).collect();
    assert!(texts == output, "the entries are not the output");
}

#[test]
fn waits_for_a_slow_journal_and_says_on_what() {
    let journal = Journal::new();
    let mut log = journal.log();
    while !log.is_blocked() {
        assert!(log.blocked_on().is_none());
        log.write(Stream::Stdout, &b"some text\n".repeat(100), &quiet());
    }
    let writable = |log: &Journald| {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(log.blocked_on().unwrap(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!writable(&log));
    assert!(!journal.entries().is_empty());
    assert!(writable(&log));
}

#[test]
fn a_restarted_journal_gets_what_follows() {
    let mut journal = Journal::new();
    let mut log = journal.log();
    log.write(Stream::Stdout, b"before\nhalf ", &quiet());
    assert_eq!(journal.entries().len(), 1);
    journal.restart();
    log.write(Stream::Stdout, b"after\n", &quiet());
    assert_eq!(journal.entries(), [(b"half after\n".to_vec(), 6, false)]);
}

#[test]
fn a_journal_that_vanishes_while_it_is_slow_sets_the_log_free() {
    let journal = Journal::new();
    let mut log = journal.log();
    while !log.is_blocked() {
        log.write(Stream::Stdout, &b"some text\n".repeat(100), &quiet());
    }
    drop(journal);
    soon("a log that no journal blocks", || {
        log.resume(&quiet());
        !log.is_blocked()
    });
}

/// Podman's case `journald/keeps-every-line` on a busy machine.
#[test]
fn a_slow_journal_gets_everything_at_the_end() {
    let journal = Journal::new();
    let mut log = journal.log();
    let mut written = 0;
    while !log.is_blocked() {
        log.write(Stream::Stdout, b"some text\n", &quiet());
        written += 1;
    }
    log.write(Stream::Stdout, &b"some text\n".repeat(119), &quiet());
    log.write(Stream::Stderr, b"unfinished", &quiet());
    log.end_output(&quiet());
    let mut buffer = [0; 1000];
    let mut arrived = Vec::new();
    while log.is_blocked() {
        let before = log.waiting_bytes();
        let length = journal.socket.recv(&mut buffer).unwrap();
        arrived.push(entry(&buffer[..length]));
        log.resume(&quiet());
        assert!(log.waiting_bytes() < before, "what was taken still waits");
    }
    arrived.extend(journal.entries());
    assert_eq!(log.waiting_bytes(), 0);
    assert_eq!(arrived.len(), written + 120);
    assert_eq!(arrived.last(), Some(&(b"unfinished".to_vec(), 3, true)));
}

#[test]
fn gives_up_on_a_stopped_journal_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::journald::finishes_with_a_stopped_journal";
    let said = said(&run_alone(&[], test, dir.path()));
    // The waiting lines and the unfinished one, which is not sent ahead of them.
    let expected = "[conmon:w]: write_journald failed: 101 entries (1004 bytes) were dropped\n";
    assert_eq!(said, expected);
}

#[test]
#[ignore = "run by gives_up_on_a_stopped_journal_at_the_end"]
fn finishes_with_a_stopped_journal() {
    let diag = Diagnostics::new(Level::Warning, None);
    let journal = Journal::new();
    let mut log = journal.log();
    while !log.is_blocked() {
        log.write(Stream::Stderr, b"some text\n", &diag);
    }
    log.write(Stream::Stdout, &b"some text\n".repeat(99), &diag);
    log.write(Stream::Stdout, b"some", &diag);
    log.end_output(&diag);
    log.drop_waiting(&diag);
    assert!(!log.is_blocked());
    let arrived = journal.entries();
    assert!(arrived.iter().all(|entry| *entry == (b"some text\n".to_vec(), 3, false)));
}

#[test]
fn without_a_journal_entries_vanish_silently_until_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::journald::logs_before_and_after_the_journal_starts";
    assert_eq!(said(&run_alone(&[], test, dir.path())), "");
}

#[test]
#[ignore = "run by without_a_journal_entries_vanish_silently_until_there_is_one"]
fn logs_before_and_after_the_journal_starts() {
    let diag = Diagnostics::new(Level::Warning, None);
    let mut journal = Journal::new();
    std::fs::remove_file(journal.dir.path().join("socket")).unwrap();
    let mut log = journal.log();
    log.write(Stream::Stdout, &b"lost\n".repeat(100), &diag);
    assert!(!log.is_blocked());
    journal.socket = bind(journal.dir.path());
    log.write(Stream::Stdout, b"found\n", &diag);
    assert_eq!(journal.entries(), [(b"found\n".to_vec(), 6, false)]);
    log.end_output(&diag);
    log.drop_waiting(&diag);
}

#[test]
fn counts_what_a_dead_journal_did_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::journald::logs_to_a_dead_journal";
    assert_eq!(
        said(&run_alone(&[], test, dir.path())),
        "[conmon:w]: sd_journal_sendv: Connection refused\n\
        [conmon:w]: write_journald failed: 101 entries (510 bytes) were dropped\n"
    );
}

#[test]
#[ignore = "run by counts_what_a_dead_journal_did_not_take"]
fn logs_to_a_dead_journal() {
    let diag = Diagnostics::new(Level::Warning, None);
    let mut journal = Journal::new();
    let mut log = journal.log();
    // The path stays, but nobody listens.
    journal.socket = UnixDatagram::unbound().unwrap();
    log.write(Stream::Stdout, &b"lost\n".repeat(100), &diag);
    log.write(Stream::Stdout, b"kept ", &diag);
    log.write(Stream::Stdout, b"lost\n", &diag);
    log.write(Stream::Stdout, b"kept ", &diag);
    journal.restart();
    log.write(Stream::Stdout, b"as well\n", &diag);
    // What was pending at the failure is not glued to it.
    assert_eq!(journal.entries(), [(b"kept as well\n".to_vec(), 6, false)]);
    log.end_output(&diag);
    log.drop_waiting(&diag);
}

#[test]
fn an_entry_too_long_for_a_datagram_comes_as_a_sealed_file() {
    let journal = Journal::new();
    let label = format!("LONG={}", "v".repeat(1 << 20));
    let config = LogConfig { labels: vec![label.into()], ..LogConfig::default() };
    let mut log = journal.log_with(&config);
    log.write(Stream::Stdout, b"one\ntwo\n", &quiet());
    let datagrams = journal.datagrams();
    let texts: Vec<_> = datagrams.iter().map(|datagram| entry(datagram).0).collect();
    assert_eq!(texts, [b"one\n", b"two\n"]);
    let long = fields(&datagrams[0]).into_iter().find(|(name, _)| name == "LONG").unwrap();
    assert_eq!(long.1.len(), 1 << 20);
}

/// The original takes 128 fields; with one more it logs nothing at all.
#[test]
fn any_number_of_labels_is_sent() {
    let journal = Journal::new();
    let labels = (0..300).map(|number| format!("L{number}=v").into()).collect();
    let config = LogConfig { labels, ..LogConfig::default() };
    journal.log_with(&config).write(Stream::Stdout, b"one\n", &quiet());
    let [datagram] = journal.datagrams().try_into().unwrap();
    assert_eq!(fields(&datagram).iter().filter(|(name, _)| name.starts_with('L')).count(), 300);
}
