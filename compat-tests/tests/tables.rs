//! The commands that play a table of cases: what they say of themselves, what they refuse, and that they play.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, starts_with};
use rstest::rstest;

const PODMAN: &str = env!("CARGO_BIN_EXE_podman-compat");
const CRIO: &str = env!("CARGO_BIN_EXE_crio-compat");

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: worlds need root");
    }
    root
}

#[rstest]
#[case::podman(PODMAN, "podman-compat")]
#[case::crio(CRIO, "crio-compat")]
fn says_its_options(#[case] program: &str, #[case] name: &str) {
    let usage = contains(format!("Usage: {name} [OPTIONS]"));
    let options = contains("--filter <FILTER>").and(contains("--runtime <RUNTIME>"));
    Command::new(program).arg("--help").assert().success().stdout(usage.and(options));
    Command::new(program).arg("--version").assert().success().stdout(starts_with(name.to_owned()));
}

#[rstest]
#[case::podman(PODMAN)]
#[case::crio(CRIO)]
fn a_run_of_nothing_is_refused(#[case] program: &str) {
    for option in ["--repeat", "--jobs"] {
        let refusal = contains(format!("{option} <")).and(contains("a number from 1 on"));
        Command::new(program).args([option, "0"]).assert().code(2).stderr(refusal);
    }
    let none = Command::new(program).args(["--filter", "no such case"]).assert();
    none.code(2).stderr(contains("no case matches"));
}

#[rstest]
#[case::podman(PODMAN, "run/passes-the-exit-status-on")]
#[case::crio(CRIO, "create/reports-the-pid@crun")]
fn lists_and_plays_a_case_and_reports_it(#[case] program: &str, #[case] id: &str) {
    let listed = Command::new(program).args(["--list", "--filter", id]).assert().success();
    listed.stdout(contains(id));
    if !is_root() {
        return;
    }
    let reports = tempfile::tempdir().unwrap();
    let report = reports.path().join("report.xml");
    let mut command = Command::new(program);
    command.args(["--runtime", "crun", "--filter", id, "--junit"]).arg(&report);
    command.assert().success().stdout(contains(id).and(contains("0 failed")));
    assert!(std::fs::read_to_string(&report).unwrap().contains("<testcase"));
}

/// A monitor that fails once for a container named `c`, and works from then on.
fn failing_once(directory: &Path, monitor: &Path) -> PathBuf {
    let path = directory.join("fails-once");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *' -n c '*) ! mkdir {0}.did 2>/dev/null || exit 1 ;; esac\nexec {1} \"$@\"\n",
        path.display(),
        monitor.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[rstest]
#[case::reference("--reference", 0, "; once more")]
#[case::candidate("--candidate", 1, "")]
fn only_the_reference_gets_a_second_try(
    #[case] side: &str,
    #[case] status: i32,
    #[case] said: &str,
) {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let monitor = failing_once(directory.path(), Path::new("/usr/bin/conmon"));
    let mut command = Command::new(PODMAN);
    command.args(["--filter", "run/detaches-at-once-and-is-waited-for", side]).arg(monitor);
    command.assert().code(status).stderr(contains(said));
}

#[rstest]
#[case::podman(PODMAN, &["--list"])]
#[case::crio(CRIO, &["--list"])]
#[case::scenarios(env!("CARGO_BIN_EXE_conmon-compat"), &["list"])]
fn a_reader_that_leaves_does_no_harm(#[case] program: &str, #[case] words: &[&str]) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    Command::new(program).args(words).stdout(writer).assert().success().stderr("");
}
