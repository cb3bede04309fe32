//! Framing against naive oracles: reads of any size and content, either log driver.

use proptest::prelude::*;
use proptest::sample::select;

use super::journald::Journal;
use super::*;
use crate::log::lines::Lines;
use crate::stream::CHUNK_BYTES;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Text with lines of all lengths around the limits that matter: blocks, copies, chunks.
fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => 0..70_usize,
        2 => 250..270_usize,
        2 => 500..530_usize,
        1 => 0..longest,
    ];
    let piece =
        (line, any::<u8>(), select(vec!["\n", "\n", "\n", "", "\n\n", "<3>", "<7>\n", "<8>"]))
            .prop_map(|(length, byte, end)| {
                let byte = if byte == b'\n' { b' ' } else { byte };
                [vec![byte; length], end.as_bytes().to_vec()].concat()
            });
    let prefix = select(vec!["", "", "<0>", "<7>", "<9>", "<", "\n"]);
    (prefix, prop::collection::vec(piece, 0..20))
        .prop_map(|(prefix, pieces)| [prefix.as_bytes().to_vec(), pieces.concat()].concat())
}

fn reads() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    let stream = select(vec![Stream::Stdout, Stream::Stderr]);
    prop::collection::vec((stream, text(20_000)), 0..8)
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// The records that these reads are to become.
fn naive_records(reads: &[(Stream, Vec<u8>)]) -> Vec<Record> {
    let mut records = Vec::new();
    for (stream, read) in reads {
        for chunk in read.chunks(CHUNK_BYTES) {
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                let (tag, content) = match line.split_last() {
                    Some((b'\n', content)) => ('F', content),
                    _ => ('P', line),
                };
                records.push((name(*stream).to_owned(), tag, content.to_vec()));
            }
        }
    }
    records
}

/// The journal's entries for the same reads.
fn naive_entries(reads: &[(Stream, Vec<u8>)]) -> Vec<(Vec<u8>, u8, bool)> {
    let mut entries = Vec::new();
    let mut pending = [Vec::new(), Vec::new()];
    let default = |stream| if stream == Stream::Stdout { 6 } else { 3 };
    for (stream, read) in reads {
        let pending = &mut pending[usize::from(*stream == Stream::Stderr)];
        for chunk in read.chunks(CHUNK_BYTES) {
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                let ended = line.ends_with(b"\n");
                if !ended && pending.len() + line.len() < CHUNK_BYTES {
                    pending.extend_from_slice(line);
                    continue;
                }
                let given = (0..8).find(|digit| line.starts_with(format!("<{digit}>").as_bytes()));
                let (text, priority) = match given {
                    Some(digit) if pending.is_empty() => (line[3..].to_vec(), digit),
                    _ => ([pending.as_slice(), line].concat(), default(*stream)),
                };
                pending.clear();
                entries.push((text, priority, !ended));
            }
        }
    }
    for (rest, stream) in pending.into_iter().zip([Stream::Stdout, Stream::Stderr]) {
        if !rest.is_empty() {
            entries.push((rest, default(stream), true));
        }
    }
    entries
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn lines_are_those_of_the_standard_library(chunk in text(2_000)) {
        let seen: Vec<&[u8]> = Lines::new(&chunk).map(|line| &chunk[line.start..line.end]).collect();
        let expected: Vec<&[u8]> = chunk.split_inclusive(|byte| *byte == b'\n').collect();
        prop_assert_eq!(seen, expected);
    }
}

proptest! {
    #![proptest_config(config(50))]

    #[test]
    fn a_file_holds_one_record_for_each_piece_of_a_line(reads in reads()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&to_file(&path));
        reads.iter().for_each(|(stream, read)| log.write(*stream, read, &quiet()));
        log.end_output(&quiet());
        log.drop_waiting(&quiet());
        prop_assert!(super::records(&path) == naive_records(&reads));
    }

    #[test]
    fn rotation_keeps_every_record_and_the_limit(
        reads in reads(),
        max in 100..30_000_u64,
        exact in proptest::option::of((any::<prop::sample::Index>(), 0..2_u64)),
    ) {
        // Often a limit that some records fill to the byte, or all but the last byte.
        let sizes = naive_records(&reads).iter().fold(Vec::new(), |mut sizes: Vec<u64>, record| {
            sizes.push(sizes.last().unwrap_or(&0) + 46 + record.2.len() as u64);
            sizes
        });
        let exact = exact.filter(|_| !sizes.is_empty());
        let max = exact.map_or(max, |(index, less)| *index.get(&sizes) - less);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (rotate, max_files) = (true, 10_000);
        let config = LogConfig { rotate, max_files, size_max: Some(max), ..to_file(&path) };
        let mut log = open(&config);
        reads.iter().for_each(|(stream, read)| log.write(*stream, read, &quiet()));
        log.end_output(&quiet());
        log.drop_waiting(&quiet());
        let backups = (1..).map(|number| dir.path().join(format!("log.{number}")));
        let mut files: Vec<PathBuf> = backups.take_while(|path| path.exists()).collect();
        files.reverse();
        files.push(path);
        let mut all = Vec::new();
        for file in &files {
            let records = super::records(file);
            let size = std::fs::metadata(file).unwrap().len();
            // One record alone may be larger than a file.
            prop_assert!(size <= max || records.len() == 1, "{size} of {max}");
            all.extend(records);
        }
        prop_assert!(all == naive_records(&reads));
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), files.len());
    }

    #[test]
    fn the_journal_gets_one_entry_a_line(reads in reads()) {
        let journal = Journal::new();
        let borrowed: Vec<_> = reads.iter().map(|(stream, read)| (*stream, read.as_slice())).collect();
        let entries = journal.log_reads(&mut journal.log(), &borrowed);
        prop_assert!(entries == naive_entries(&reads));
    }

    #[test]
    fn every_field_of_an_entry_has_the_value_it_was_given(
        tag in proptest::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        name in proptest::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        labels in prop::collection::vec(("[A-Z][A-Z0-9_]{0,8}", prop::collection::vec(any::<u8>(), 0..20)), 0..5),
        partial in any::<bool>(),
        no_partial_message in any::<bool>(),
    ) {
        use std::os::unix::ffi::OsStringExt;
        let os = std::ffi::OsString::from_vec;
        let journal = Journal::new();
        let config = LogConfig {
            tag: tag.clone().map(os),
            name: name.clone().map(os),
            labels: labels.iter().map(|(name, value)| os([name.as_bytes(), b"=", value].concat())).collect(),
            no_partial_message,
            ..LogConfig::default()
        };
        let mut log = journal.log_with(&config);
        let text: &[u8] = if partial { b"text" } else { b"text\n" };
        log.write(Stream::Stderr, text, &quiet());
        log.end_output(&quiet());
        log.drop_waiting(&quiet());
        let datagrams = journal.datagrams();
        prop_assert_eq!(datagrams.len(), 1);
        let short = CID.as_bytes()[..12].to_vec();
        let mut expected = vec![
            ("MESSAGE".to_owned(), text.to_vec()),
            ("CONTAINER_ID_FULL".to_owned(), CID.as_bytes().to_vec()),
            ("PRIORITY".to_owned(), b"3".to_vec()),
            ("CONTAINER_ID".to_owned(), short.clone()),
        ];
        expected.extend(tag.clone().map(|tag| ("CONTAINER_TAG".to_owned(), tag)));
        expected.extend(name.clone().map(|name| ("CONTAINER_NAME".to_owned(), name)));
        expected.push(("SYSLOG_IDENTIFIER".to_owned(), tag.or(name).unwrap_or(short)));
        if partial && !no_partial_message {
            expected.push(("CONTAINER_PARTIAL_MESSAGE".to_owned(), b"true".to_vec()));
        }
        expected.extend(labels);
        let mut seen = super::journald::fields(&datagrams[0]);
        let code = seen.split_off(seen.len() - 3);
        prop_assert_eq!(seen, expected);
        prop_assert!(code.iter().all(|(name, _)| name.starts_with("CODE_")));
    }
}
