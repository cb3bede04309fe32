//! What `Log::open` refuses, in which order, and what it leaves behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rstest::rstest;

use super::*;

fn refusal(config: &LogConfig, cid: &str) -> String {
    let result = Log::open(config, OsStr::new(cid), &quiet());
    String::from_utf8(result.err().unwrap().sentence()).unwrap()
}

#[rstest]
#[case::tag(LogConfig { tag: Some("t".into()), ..LogConfig::default() }, "k8s-file doesn't support --log-tag")]
#[case::tag_first(
    LogConfig { tag: Some("t".into()), labels: vec!["bad".into()], ..LogConfig::default() },
    "k8s-file doesn't support --log-tag"
)]
#[case::label(
    LogConfig { labels: vec!["bad".into()], ..LogConfig::default() },
    "k8s-file doesn't support --log-label"
)]
#[case::label_with_both_drivers(
    LogConfig { journald: true, tag: Some("t".into()), labels: vec!["A=b".into(), "bad".into()], ..LogConfig::default() },
    "Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'bad')"
)]
fn refuses_after_the_file_has_been_created(#[case] config: LogConfig, #[case] text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let config = LogConfig { k8s_file: Some(path.clone()), k8s_file_count: 1, ..config };
    assert_eq!(refusal(&config, CID), text);
    assert!(path.exists());
}

#[rstest]
#[case::twelve_bytes("123456789012", false)]
#[case::thirteen_bytes("1234567890123", true)]
fn the_journal_needs_a_long_id(#[case] cid: &str, #[case] accepted: bool) {
    let config = LogConfig { journald: true, ..LogConfig::default() };
    let result = Log::open(&config, OsStr::new(cid), &quiet());
    assert_eq!(result.is_ok(), accepted);
    if !accepted {
        assert_eq!(refusal(&config, cid), "Container ID must be longer than 12 characters");
    }
}

#[test]
fn refuses_a_file_that_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let text = refusal(&to_file(&dir.path().join("none/log")), CID);
    assert_eq!(text, "Failed to open log file No such file or directory");
    assert_eq!(refusal(&to_file(dir.path()), CID), "Failed to open log file Is a directory");
}

#[test]
fn appends_to_an_existing_file_and_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    open(&to_file(&path)).write(Stream::Stdout, b"first\n", &quiet());
    // Whatever the tests' umask takes away, nothing was added.
    assert_eq!(path.metadata().unwrap().mode() & 0o137, 0);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
    open(&to_file(&path)).write(Stream::Stdout, b"second\n", &quiet());
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o604);
    assert_eq!(records(&path).len(), 2);
}

#[rstest]
#[case::itself("allowed", "allowed/log", true)]
#[case::below("allowed", "allowed/sub/log", true)]
#[case::elsewhere("allowed", "other/log", false)]
#[case::same_beginning("allowed", "allowed-not/log", false)]
#[case::through_dots("allowed", "allowed/../other/log", false)]
#[case::through_a_link("allowed", "allowed/to-other/log", false)]
#[case::back_through_a_link("other", "allowed/to-other/log", true)]
#[case::link_to_a_file_elsewhere("allowed", "allowed/link", false)]
#[case::dangling_link("allowed", "allowed/dangling", false)]
#[case::entry_is_a_link("allowed/to-other", "other/log", true)]
#[case::missing_entry("missing", "allowed/log", false)]
fn a_log_must_lie_in_an_allowed_directory(
    #[case] entry: &str,
    #[case] log: &str,
    #[case] accepted: bool,
) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["allowed", "allowed/sub", "allowed-not", "other"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    symlink("../other", dir.path().join("allowed/to-other")).unwrap();
    symlink("../other/log", dir.path().join("allowed/link")).unwrap();
    symlink("../other/none", dir.path().join("allowed/dangling")).unwrap();
    std::fs::write(dir.path().join("other/log"), "").unwrap();
    let path = dir.path().join(log);
    let existed = path.exists();
    let allowlist_dirs = vec![PathBuf::new(), dir.path().join(entry)];
    let config = LogConfig { allowlist_dirs, ..to_file(&path) };
    if accepted {
        open(&config);
    } else {
        let text = format!("Log path {} is not in an allowed directory", path.display());
        assert_eq!(refusal(&config, CID), text);
        assert_eq!(path.exists(), existed, "created although refused");
    }
}

#[test]
fn an_empty_allow_list_entry_allows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let config = LogConfig { allowlist_dirs: vec![PathBuf::new()], ..to_file(&path) };
    assert!(refusal(&config, CID).ends_with("is not in an allowed directory"));
}

#[test]
fn the_file_is_synced_only_if_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let config = to_file(&dir.path().join("log"));
    assert!(open(&config).sync_target().is_some());
    assert!(open(&LogConfig { sync: false, ..config }).sync_target().is_none());
    assert!(open(&LogConfig { sync: true, ..LogConfig::default() }).sync_target().is_none());
}

#[test]
fn without_a_driver_output_vanishes() {
    let mut log = open(&LogConfig::default());
    log.write(Stream::Stdout, b"text\n", &quiet());
    log.reopen(&quiet());
    log.drop_waiting(&quiet());
    assert!(!log.is_blocked());
}

#[test]
fn warns_of_what_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::opening::opens_with_options_that_have_no_effect";
    let path = dir.path().join("log");
    assert_eq!(
        said(&run_alone(&[], test, dir.path())),
        format!(
            "[conmon:w]: Several k8s-file log paths given, only {} is used\n\
            [conmon:w]: --no-container-partial-message has no effect without journald log driver\n",
            path.display()
        )
    );
}

#[test]
#[ignore = "run by warns_of_what_has_no_effect"]
fn opens_with_options_that_have_no_effect() {
    let config = LogConfig {
        k8s_file_count: 2,
        no_partial_message: true,
        ..to_file(&own_directory().join("log"))
    };
    let diag = Diagnostics::new(Level::Warning, None);
    Log::open(&config, OsStr::new(CID), &diag).unwrap();
}
