//! The filter against a naive oracle: nothing passes that speaks for the monitor.

use proptest::prelude::*;
use proptest::sample::select;

use super::filter;

/// What may pass, line by line, of text written as characters.
fn naive(datagram: &[u8]) -> Vec<u8> {
    let text: String = datagram.iter().map(|byte| *byte as char).collect();
    let mut passed: Vec<String> = Vec::new();
    for line in text.split('\0').next().unwrap().replace('\r', "\n").split('\n') {
        let value = line.split_once('=');
        let may_pass = match value {
            Some(("READY" | "RELOADING" | "STOPPING", value)) => value == "1",
            Some(("WATCHDOG", value)) => value == "1" || value == "trigger",
            Some((name, _)) => ["STATUS", "ERRNO", "BUSERROR", "MONOTONIC_USEC"].contains(&name),
            None => false,
        };
        if may_pass {
            passed.push(line.to_owned());
        }
    }
    passed.join("\n").chars().map(|character| character as u8).collect()
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "READY",
        "RELOADING",
        "STOPPING",
        "WATCHDOG",
        "STATUS",
        "ERRNO",
        "BUSERROR",
        "MONOTONIC_USEC",
        "MAINPID",
        "FDSTORE",
        "WATCHDOG_USEC",
        "trigger",
        "=",
        "=1",
        "1",
        "=1\n",
        "=",
        "\n",
        "\r",
        "\0",
        " ",
        "x",
        "\u{ff}",
        "NOTIFYACCESS=all",
        "FDNAME=x",
        "BARRIER=1",
    ];
    prop_oneof![
        6 => prop::collection::vec(select(words), 0..24)
            .prop_map(|words| words.concat().chars().map(|character| character as u8).collect()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_what_the_list_names_passes(datagram in datagram()) {
        let passed = filter(datagram.clone());
        prop_assert_eq!(&passed, &naive(&datagram));
        // Passing it again changes nothing.
        prop_assert_eq!(filter(passed.clone()), passed);
    }
}
