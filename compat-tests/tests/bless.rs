//! `run --bless`: what it writes, and what it does not.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "common/root.rs"]
mod root;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/suite.rs"]
mod suite;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use assert_cmd::assert::OutputAssertExt;
use predicates::str::contains;
use root::is_root;
use skip::skipped;
use suite::{scenarios, suite};
use tempfile::TempDir;

/// Runs `--bless` with these further arguments; the scenario's text afterwards, the status, and what was said.
fn blessed(scenarios: &TempDir, arguments: &[&str]) -> (String, Option<i32>, String) {
    let mut command = suite();
    command.args(["run", "--scenarios"]).arg(scenarios.path()).args(arguments);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let text = fs::read_to_string(scenarios.path().join("area/name.toml")).unwrap();
    (text, output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

const ANSWER: &str = "why = 'x' # of the hand\nno_container = 'the monitor only answers'\nruntimes = ['standin']\n\
                      steps = [\n    'launch', 'wait launched',\n]\n[monitor]\nargv = ['--version']\npipes = 'none'\n[standin]\nsteps = []\n\
                      [[ignore]]\npath = 'monitors.main.launch.stdout'\nwhy = 'each says its own version'\n";

#[test]
fn what_was_seen_becomes_what_is_expected() {
    if !is_root() {
        return skipped("not root");
    }
    let directory = scenarios(ANSWER);
    let (text, status, said) = blessed(&directory, &["--bless=monitors.*.launch.status"]);
    let written =
        format!("{ANSWER}[[expect]]\npath = \"monitors.main.launch.status\"\nis = \"exited 0\"\n");
    assert_eq!((text.as_str(), status), (written.as_str(), Some(0)), "{said}");
    // It holds, and is not written twice; the usual fields come beside it.
    let (text, status, said) = blessed(&directory, &["--bless"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        text.starts_with(&written) && text.contains("\"monitors.main.launch.stderr\""),
        "{text}"
    );
    assert_eq!(text.matches("launch.status").count(), 1, "{text}");
    let (again, status, said) = blessed(&directory, &["--bless"]);
    assert!(again == text && status == Some(0) && said.contains("nothing to add"), "{said}");
}

#[test]
fn what_should_not_be_expected_is_not_written() {
    if !is_root() {
        return skipped("not root");
    }
    let wrong =
        format!("{ANSWER}[[expect]]\npath = 'monitors.main.launch.status'\nis = 'exited 7'\n");
    for (scenario, arguments, status, reason) in [
        // An expectation that fails is for somebody to decide.
        (
            wrong.as_str(),
            &["--bless"][..],
            1,
            "nothing added to area/name: area/name standin is DIFFERS",
        ),
        (ANSWER, &["--bless", "--divergences", "none"], 2, "these two are equals"),
        (ANSWER, &["--bless", "--candidate", "/nonexistent"], 2, "no monitor at /nonexistent"),
    ] {
        let directory = scenarios(scenario);
        let (text, code, said) = blessed(&directory, arguments);
        assert_eq!((text.as_str(), code), (scenario, Some(status)), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let skipped = ANSWER.replace("steps = [\n", "needs = ['cgroup-v1', 'cgroup-v2']\nsteps = [\n");
    let directory = scenarios(&skipped);
    let (text, code, said) = blessed(&directory, &["--bless"]);
    assert_eq!((text, code), (skipped.clone(), Some(2)), "{said}");
    // Beside one that is played.
    fs::write(directory.path().join("area/other.toml"), ANSWER).unwrap();
    let (text, code, said) = blessed(&directory, &["--bless"]);
    assert_eq!((text, code), (skipped, Some(1)), "{said}");
    assert!(said.contains("nothing added to area/name: it was not played here"), "{said}");
    // Nobody means all scenarios, and other tables have no place for it.
    suite()
        .args(["run", "--bless", "-t", "scenarios"])
        .assert()
        .code(2)
        .stderr(contains("would change every scenario"));
    suite()
        .args(["run", "--bless", "-t", "crio"])
        .assert()
        .code(2)
        .stderr(contains("crio is none"));
}

#[test]
fn a_file_that_cannot_be_written_is_found_out_before_anything_is_played() {
    if !is_root() {
        return skipped("not root");
    }
    let directory = scenarios(ANSWER);
    let command = suite();
    let mut there = Command::new("unshare");
    there
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"")
        .arg(directory.path())
        .arg(command.get_program())
        .args(["run", "--bless", "--scenarios"])
        .arg(directory.path());
    let output = there.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("area/name.toml: Read-only file system"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(fs::read_to_string(directory.path().join("area/name.toml")).unwrap(), ANSWER);
}

#[test]
fn a_scenario_that_was_changed_meanwhile_is_left_as_it_is() {
    if !is_root() {
        return skipped("not root");
    }
    let directory = scenarios(ANSWER);
    let mut child = suite()
        .args(["run", "--bless", "--tap", "--jobs=1", "--repeat=10", "--scenarios"])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ok 1 ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "nothing was played");
    }
    let changed = ANSWER.replace("'wait launched',", "'wait launched', 'look late',");
    fs::write(directory.path().join("area/name.toml"), &changed).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("nothing added to area/name: the file has changed"), "{rest}");
    assert_eq!(fs::read_to_string(directory.path().join("area/name.toml")).unwrap(), changed);
}
