//! /proc/PID/cgroup against a naive oracle.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use proptest::prelude::*;

use super::{Version, find};

/// The directory; or the line that is none, and whether it has a colon at all.
fn naive(table: &str, version: Version) -> Result<Option<String>, (String, bool)> {
    for line in table.split_inclusive('\n') {
        let fields: Vec<&str> = line.trim_end_matches('\n').splitn(3, ':').collect();
        let [id, controllers, path] = fields[..] else {
            return Err((line.to_owned(), fields.len() == 2));
        };
        if version == Version::V2 && id == "0" && controllers.is_empty() {
            return Ok(Some(format!("/sys/fs/cgroup{path}")));
        }
        if version == Version::V1 && format!(",{controllers},").contains(",memory,") {
            return Ok(Some(format!("/sys/fs/cgroup/{controllers}{path}")));
        }
    }
    Ok(None)
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => "[0-9]{1,2}:(memory|cpu|pids|name=systemd|memory2|,){0,3}:/[a-z:/]{0,8}\n",
        2 => "0::/[a-z:/. -]{0,12}\n",
        1 => "[0-9:a-z,]{0,8}\n",
        1 => "[0-9]:(cpu,memory|memory,cpu|memory):/x",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_group_is_found_or_the_line_is_named(
        lines in prop::collection::vec(line(), 0..6), v2 in any::<bool>(),
    ) {
        let version = if v2 { Version::V2 } else { Version::V1 };
        let table = lines.concat();
        let found = find(table.as_bytes(), version)
            .map_err(|malformed| (malformed.line, malformed.missing == "second ':'"));
        let expected = naive(&table, version)
            .map(|path| path.map(PathBuf::from))
            .map_err(|(line, has_colon)| (line.into_bytes(), has_colon));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_a_table_or_none(table in prop::collection::vec(any::<u8>(), 0..80), v2 in any::<bool>()) {
        let version = if v2 { Version::V2 } else { Version::V1 };
        if let Ok(Some(path)) = find(&table, version) {
            let path = OsString::from(path).into_vec();
            prop_assert!(path.starts_with(b"/sys/fs/cgroup"));
            prop_assert!(!path.contains(&b'\n'));
        }
    }
}
