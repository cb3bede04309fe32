//! The pid file against a naive atoi(3).

use nix::unistd::Pid;
use proptest::prelude::*;

use super::pid_file;

fn naive(bytes: &[u8]) -> Option<i32> {
    let text: String = bytes.iter().map(|byte| *byte as char).collect();
    // What is white space for us; a vertical tab is none.
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|number| *number > 0)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ \t\r\n]{0,2}[+-]{0,2}[0-9]{0,12}[ \na-z]{0,4}".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..100),
        (0..200_usize, 1..1000_i32).prop_map(|(zeros, number)| format!(
            "{}{number}",
            "0".repeat(zeros)
        )
        .into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pid_is_read_or_the_file_is_named(content in content()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, &content).unwrap();
        match pid_file::read(&path) {
            Ok(pid) => prop_assert_eq!(Some(pid), naive(&content).map(Pid::from_raw)),
            Err(failure) => {
                prop_assert_eq!(naive(&content), None);
                let said = String::from_utf8(failure.sentence()).unwrap();
                let start = format!("No valid pid in file “{}”: \"", path.display());
                prop_assert!(said.starts_with(&start), "{said}");
                prop_assert!(said.len() < start.len() + 400, "{said}");
            }
        }
    }
}
