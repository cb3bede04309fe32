//! Records, limits and what the log may be besides a regular file.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;

use super::*;
use crate::stream::CHUNK_BYTES;

fn x(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}

#[rstest]
#[case::two_lines(&[b"a\nbc\n".as_slice()], &[('F', b"a".as_slice()), ('F', b"bc")])]
#[case::empty_line(&[b"\n".as_slice()], &[('F', b"".as_slice())])]
#[case::remainder(&[b"a\nbc".as_slice()], &[('F', b"a".as_slice()), ('P', b"bc")])]
#[case::newline_follows_later(&[b"abc".as_slice(), b"\n"], &[('P', b"abc".as_slice()), ('F', b"")])]
#[case::raw_bytes(&[b"\0\r\xff \n".as_slice()], &[('F', b"\0\r\xff ".as_slice())])]
#[case::nothing(&[b"".as_slice()], &[])]
fn each_read_is_cut_at_its_newlines(
    #[case] reads: &[&[u8]],
    #[case] expected: &[(char, &[u8])],
    #[values((Stream::Stdout, "stdout"), (Stream::Stderr, "stderr"))] stream: (Stream, &str),
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = open(&to_file(&path));
    reads.iter().for_each(|read| log.write(stream.0, read, &quiet()));
    log.drop_waiting(&quiet());
    let expected: Vec<_> =
        expected.iter().map(|(tag, text)| (stream.1.to_string(), *tag, text.to_vec())).collect();
    assert_eq!(records(&path), expected);
}

#[rstest]
#[case::line_fills_the_chunk([x(8191), b"\n".to_vec()].concat(), &[('F', 8191)])]
#[case::newline_in_the_next_chunk([x(8192), b"\n".to_vec()].concat(), &[('P', 8192), ('F', 0)])]
#[case::one_byte_more([x(8193), b"\n".to_vec()].concat(), &[('P', 8192), ('F', 1)])]
#[case::long_line(x(20_000), &[('P', 8192), ('P', 8192), ('P', 3616)])]
fn one_long_read_is_cut_where_short_ones_would_end(
    #[case] read: Vec<u8>,
    #[case] expected: &[(char, usize)],
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    open(&to_file(&path)).write(Stream::Stdout, &read, &quiet());
    let found: Vec<_> = records(&path).iter().map(|(_, tag, text)| (*tag, text.len())).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_lines_of_a_chunk_share_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = open(&to_file(&path));
    log.write(Stream::Stdout, &b"short\n".repeat(2 * CHUNK_BYTES / 6), &quiet());
    let times: Vec<String> =
        parse(&std::fs::read(&path).unwrap()).into_iter().map(|(time, _)| time).collect();
    let different = times.chunk_by(|a, b| a == b).count();
    assert_eq!(different, 2);
    assert!(times.is_sorted());
}

#[rstest]
#[case::unlimited(None, None)]
#[case::small_files(Some(3000), None)]
#[case::tiny_files(Some(10), None)]
#[case::global_limit(None, Some(100_000))]
#[case::both(Some(20_000), Some(250_000))]
fn one_long_read_logs_what_eight_short_ones_log(
    #[case] size_max: Option<u64>,
    #[case] global_size_max: Option<u64>,
) {
    let output = varied_output(5 * 65_536 - 77);
    let dir = tempfile::tempdir().unwrap();
    let logged = |name: &str, read_bytes: usize| {
        let path = dir.path().join(name).join("log");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let limits = LogConfig { size_max, global_size_max, ..to_file(&path) };
        let mut log = open(&LogConfig { rotate: true, max_files: 99, ..limits });
        output.chunks(read_bytes).for_each(|read| log.write(Stream::Stdout, read, &quiet()));
        let mut files: Vec<_> = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_owned(), records(&path)))
            .collect();
        files.sort();
        files
    };
    let long = logged("long", 65_536);
    assert_eq!(long, logged("short", CHUNK_BYTES));
    let some = long.iter().map(|(_, records)| records.len()).sum::<usize>();
    assert!(some > 50, "{some} records");
}

#[rstest]
#[case::one_line_always(1, 1)]
#[case::exceeded_by_one_line_at_most(150, 3)]
#[case::met_exactly(153, 3)]
fn the_global_limit_is_checked_before_each_line(#[case] max: u64, #[case] lines: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let config = LogConfig { global_size_max: Some(max), ..to_file(&path) };
    let mut log = open(&config);
    log.write(Stream::Stdout, &b"12345\n".repeat(10), &quiet());
    log.write(Stream::Stderr, b"late\n", &quiet());
    assert_eq!(records(&path).len(), lines);
    // What the file holds at the start counts.
    open(&config).write(Stream::Stdout, b"12345\n", &quiet());
    assert_eq!(records(&path).len(), lines);
}

#[rstest]
#[case::smaller_than_a_line(10, 1)]
#[case::exactly_three_lines(153, 1)]
#[case::one_byte_less(152, 2)]
fn a_line_over_the_size_limit_begins_a_new_file(#[case] max: u64, #[case] lines: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let config = LogConfig { size_max: Some(max), ..to_file(&path) };
    open(&config).write(Stream::Stdout, &b"12345\n".repeat(10), &quiet());
    assert_eq!(records(&path).len(), lines);
    // A file that is full at the start is not written to any more.
    open(&config).write(Stream::Stdout, &[b'y'; 100], &quiet());
    assert_eq!(records(&path), [("stdout".to_string(), 'P', vec![b'y'; 100])]);
}

#[test]
fn a_slow_reader_of_a_fifo_stops_the_output_but_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let mut reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let mut log = open(&to_file(&path));
    let output = varied_output(300_000);
    for read in output.chunks(65_536) {
        log.write(Stream::Stdout, read, &quiet());
    }
    assert!(log.is_blocked());
    assert!(log.blocked_on().next().is_some());
    let mut received = Vec::new();
    while log.is_blocked() {
        let mut buffer = [0; 10_007];
        let count = reader.read(&mut buffer).unwrap();
        received.extend_from_slice(&buffer[..count]);
        let before = log.waiting_bytes();
        log.resume(&quiet());
        assert!(log.waiting_bytes() < before, "progress, by which a slow reader is known");
    }
    log.write(Stream::Stderr, b"last\n", &quiet());
    drop(log);
    reader.read_to_end(&mut received).unwrap();
    let regular = dir.path().join("log");
    let mut log = open(&to_file(&regular));
    output.chunks(65_536).for_each(|read| log.write(Stream::Stdout, read, &quiet()));
    log.write(Stream::Stderr, b"last\n", &quiet());
    let received: Vec<Record> = parse(&received).into_iter().map(|(_, rest)| rest).collect();
    assert_eq!(received, records(&regular));
}

#[test]
fn a_quiet_log_uses_no_large_buffer_and_a_busy_one_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&to_file(&dir.path().join("log")));
    let has_buffer = |log: &Log| log.k8s_file.as_ref().unwrap().has_large_buffer();
    log.write(Stream::Stdout, &b"\n".repeat(1024), &quiet());
    assert!(!has_buffer(&log));
    log.write(Stream::Stdout, &[b'x'; 65_536], &quiet());
    assert!(has_buffer(&log));
    log.release_buffers();
    assert!(!has_buffer(&log));
}

#[rstest]
#[case::west("TZ=NST3:30", "-03:30")]
#[case::east("TZ=IST-5:30", "+05:30")]
#[case::unknown("TZ=Nowhere/Nothing", "+00:00")]
fn the_offset_is_that_of_the_zone(#[case] zone: &str, #[case] offset: &str) {
    let dir = tempfile::tempdir().unwrap();
    said(&run_alone(&["env", zone], "log::tests::k8s_file::logs_in_its_zone", dir.path()));
    let log = std::fs::read(dir.path().join("log")).unwrap();
    assert_eq!(String::from_utf8_lossy(&log[29..35]), offset);
}

#[test]
#[ignore = "run by the_offset_is_that_of_the_zone"]
fn logs_in_its_zone() {
    open(&to_file(&own_directory().join("log"))).write(Stream::Stdout, b"text\n", &quiet());
}

#[test]
fn says_once_that_the_global_limit_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::k8s_file::logs_beyond_the_global_limit";
    let expected = "[conmon:w]: Global log size limit reached, further output is not logged\n";
    assert_eq!(said(&run_alone(&[], test, dir.path())), expected);
}

#[test]
#[ignore = "run by says_once_that_the_global_limit_is_reached"]
fn logs_beyond_the_global_limit() {
    let config = LogConfig { global_size_max: Some(60), ..to_file(&own_directory().join("log")) };
    let diag = Diagnostics::new(Level::Warning, None);
    let mut log = Log::open(&config, OsStr::new(CID), &diag).unwrap();
    for _ in 0..5 {
        log.write(Stream::Stdout, b"text\nmore\n", &diag);
    }
    log.drop_waiting(&diag);
}

#[test]
fn a_log_of_more_than_4_gib_is_continued_and_counts_with_all_of_them() {
    const GIB_5: u64 = 5 << 30;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::File::create(&path).unwrap().set_len(GIB_5).unwrap();
    let mut config = to_file(&path);
    config.size_max = Some(GIB_5 + 60);
    let mut log = open(&config);
    log.write(Stream::Stdout, b"one.\n", &quiet());
    assert_eq!(path.metadata().unwrap().len(), GIB_5 + 50);
    log.write(Stream::Stdout, b"two.\n", &quiet());
    let kept = records(&path);
    assert_eq!(kept, [("stdout".to_string(), 'F', b"two.".to_vec())], "it did not fit");
}
