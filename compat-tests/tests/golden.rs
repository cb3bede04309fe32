//! What was recorded is compared, or refused, or said to be void; never anything in between.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "common/root.rs"]
mod root;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/suite.rs"]
mod suite;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_empty};
use root::is_root;
use suite::{scenarios, suite};

const REFERENCE: &str = "/usr/bin/conmon";

const TEXT: &str = "why = 'x'\nruntimes = ['standin']\nno_container = 'z'\nsteps = ['run', 'wait exit']\n[standin]\n";

fn record(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    let mut command = suite();
    command.args(["record", "--binary", REFERENCE, "--out"]).arg(&path);
    command.arg("--scenarios").arg(directory);
    command.assert().success().stdout(contains("1 records"));
    path
}

fn check(directory: &Path, golden: &Path) -> assert_cmd::assert::Assert {
    let mut command = suite();
    command.args(["check", "--candidate", REFERENCE, "--golden"]).arg(golden);
    command.arg("--scenarios").arg(directory);
    command.assert()
}

#[test]
fn a_record_is_compared_while_its_scenario_is_the_same() {
    if !is_root() {
        return;
    }
    let directory = scenarios(TEXT);
    for name in ["x.jsonl", "x.jsonl.xz"] {
        let golden = record(directory.path(), name);
        check(directory.path(), &golden)
            .success()
            .stdout(contains("1 passed, 0 failed, 0 skipped"))
            .stderr(contains("NOT COMPARED").not());
    }
    let golden = directory.path().join("x.jsonl");
    let scenario = directory.path().join("area/name.toml");
    fs::write(&scenario, TEXT.replace("'x'", "'for another reason'")).unwrap();
    check(directory.path(), &golden).success();
    fs::write(&scenario, TEXT.replace("'run',", "'run', 'look after',")).unwrap();
    let changed = "NOT COMPARED, void: the scenario has changed since it was recorded: 1 runs";
    check(directory.path(), &golden)
        .code(2)
        .stdout(contains("0 passed, 0 failed, 1 skipped"))
        .stderr(contains(changed).and(contains("area/name standin")));
}

#[test]
fn what_was_seen_is_what_is_compared() {
    if !is_root() {
        return;
    }
    let directory = scenarios(TEXT);
    let golden = record(directory.path(), "x.jsonl");
    let text = fs::read_to_string(&golden).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let changed = rest.replace("\"exited 0\"", "\"exited 9\"");
    assert_ne!(rest, changed);
    let sum = |text: &str| conmon_compat::text::fnv(text.as_bytes());
    let header = header.replace(&sum(rest), &sum(&changed));
    fs::write(&golden, format!("{header}\n{changed}")).unwrap();
    check(directory.path(), &golden).code(1).stdout(contains("- exited 9"));
}

#[test]
fn a_damaged_file_is_refused_in_one_line() {
    let directory = scenarios(TEXT);
    let golden = directory.path().join("x.jsonl.xz");
    for (bytes, reason) in [
        (&b"\xfd7zXZ\0\0\0"[..], "damaged"),
        (b"{\"format\":2}\n", "of format 2; this program reads 1"),
        (b"\xff\xfe", "damaged: it is no text"),
        (b"", "damaged"),
    ] {
        fs::write(&golden, bytes).unwrap();
        let assert = check(directory.path(), &golden).code(2).stdout(is_empty());
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
}
