//! `--log-path` against a naive oracle: strtok(3) and a list of names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::select;

use super::LogConfig;
use super::log_path::select as select_drivers;

/// Drivers as (file, journald, passthrough), or the words of the refusal.
type Selected = Result<(Vec<Vec<u8>>, bool, bool), Vec<u8>>;

/// The pieces between colons, as strtok(3) gives them.
fn tokens(value: &[u8]) -> Vec<Vec<u8>> {
    let mut tokens = vec![Vec::new()];
    for byte in value {
        match byte {
            b':' => tokens.push(Vec::new()),
            byte => tokens.last_mut().unwrap().push(*byte),
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

fn naive(values: &[Vec<u8>]) -> Selected {
    let (mut files, mut journald, mut passthrough) = (Vec::new(), false, false);
    if values.is_empty() {
        return Err(b"Log driver not provided. Use --log-path".to_vec());
    }
    for value in values {
        let tokens = tokens(value);
        let only = tokens.len() == 1;
        if tokens.is_empty() {
            return Err(b"log-path must not be empty".to_vec());
        }
        if only && value[0] == b':' {
            files.push(tokens[0].clone());
            continue;
        }
        match tokens[0].as_slice() {
            b"k8s-file" if only => return Err(b"k8s-file requires a filename".to_vec()),
            b"k8s-file" => files.push(tokens[1].clone()),
            b"journald" => journald = true,
            b"passthrough" => passthrough = true,
            b"none" | b"off" | b"null" => {}
            name if value == name => files.push(name.to_vec()),
            name => return Err([b"No such log driver ", name].concat()),
        }
    }
    Ok((files, journald, passthrough))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        ":",
        ":",
        ":",
        "k8s-file",
        "journald",
        "passthrough",
        "none",
        "off",
        "null",
        "/a",
        "x",
        "..",
        "Journald",
        " ",
    ];
    prop_oneof![
        4 => prop::collection::vec(select(words), 0..6).prop_map(|words| words.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_select_what_the_grammar_says(values in prop::collection::vec(value(), 0..4)) {
        let mut log = LogConfig::default();
        let given = values.iter().cloned().map(OsString::from_vec).collect();
        let selected = select_drivers(given, &mut log);
        match naive(&values) {
            Err(text) => prop_assert_eq!(selected.unwrap_err().sentence(), text),
            Ok((files, journald, passthrough)) => {
                prop_assert_eq!(selected, Ok(()));
                let last = files.last().map(|path| PathBuf::from(OsString::from_vec(path.clone())));
                prop_assert_eq!((log.k8s_file, log.k8s_file_count), (last, files.len()));
                prop_assert_eq!((log.journald, log.passthrough), (journald, passthrough));
            }
        }
    }
}
