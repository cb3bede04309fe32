//! Cases of every table through one command: listed, shown, played, reported; and what earlier commands did.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "common/root.rs"]
mod root;
#[path = "common/skip.rs"]
mod skip;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, starts_with};
use root::is_root;
use rstest::rstest;
use skip::skipped;

const SUITE: &str = env!("CARGO_BIN_EXE_conmon-compat");
const PODMAN: &str = env!("CARGO_BIN_EXE_podman-compat");
const CRIO: &str = env!("CARGO_BIN_EXE_crio-compat");

fn can_record_lives() -> bool {
    let can = cfg!(target_arch = "x86_64");
    if !can {
        skipped("faults are put in on x86-64 only");
    }
    can && is_root()
}

/// They take minutes, and a comparison that nobody has asked them of has its time.
#[test]
fn faults_are_played_only_where_they_are_named() {
    let lines = contains("\n").count(1);
    let one = "k8s-file/child/execve-2/ENOENT/once";
    Command::new(SUITE).arg("list").assert().success().stdout(contains("\nfaults/").not());
    if can_record_lives() {
        let named = ["list", "--table", "faults", "--filter", &format!("faults/{one}")];
        Command::new(SUITE).args(named).assert().success().stdout(lines);
        let figures = contains("explained").and(contains("1 passed, 0 failed, 0 skipped"));
        Command::new(SUITE).args(["faults", "-f", one]).assert().success().stdout(figures);
        let other = ["run", "--table", "crio", "--filter", "faults"];
        Command::new(SUITE).args(other).assert().code(2).stderr(contains("no case fits"));
    }
}

#[rstest]
#[case::podman("podman/run/passes-the-exit-status-on")]
#[case::crio("crio/create/reports-the-pid@crun")]
#[case::scenario("exit/exit_files_before_the_exit_command@crun")]
#[case::fault("faults/k8s-file/child/execve-2/ENOENT/once")]
fn lists_plays_and_reports_a_case_of_any_table(#[case] filter: &str) {
    if filter.starts_with("faults/") && !can_record_lives() {
        return;
    }
    let name = filter.trim_end_matches("@crun");
    let listed = Command::new(SUITE).args(["list", "--filter", filter]).assert().success();
    listed.stdout(starts_with(name.to_owned()).and(contains("\n").count(1)));
    Command::new(SUITE).args(["show", name]).assert().success().stdout(contains(name));
    if !is_root() {
        return;
    }
    let reports = tempfile::tempdir().unwrap();
    let report = |format: &str| reports.path().join(format);
    let mut command = Command::new(SUITE);
    command.args(["run", "--filter", filter, "--junit"]).arg(report("junit"));
    command.arg("--json").arg(report("json")).arg("--html").arg(report("html"));
    let passed = contains("1 passed, 0 failed, 0 skipped\n");
    command.assert().success().stdout(contains(name).and(passed));
    for (format, text) in [("junit", "<testcase name="), ("json", "\"case\": "), ("html", "<td>")] {
        let written = fs::read_to_string(report(format)).unwrap();
        assert!(
            written.contains(&format!("{text}\"{name}"))
                || written.contains(&format!("{text}{name}")),
            "{written}"
        );
    }
    let tap = Command::new(SUITE).args(["run", "--tap", "--filter", filter]).assert().success();
    tap.stdout(contains("\nok 1 - ").and(contains("\n1..1\n")).and(contains(name)));
}

#[rstest]
#[case::podman(PODMAN, "run/passes-the-exit-status-on", "podman/run/passes-the-exit-status-on")]
#[case::crio(CRIO, "create/reports-the-pid@crun", "crio/create/reports-the-pid crun")]
fn an_earlier_command_does_what_it_did(
    #[case] program: &str,
    #[case] filter: &str,
    #[case] key: &str,
) {
    let listed = Command::new(program).args(["--list", "--filter", filter]).assert().success();
    listed.stdout(starts_with(key.to_owned()).and(contains("\n").count(1)));
    let help = Command::new(program).arg("--help").assert().success();
    help.stdout(contains("Usage: conmon-compat run"));
    if is_root() {
        let played = Command::new(program).args(["--filter", filter]).assert().success();
        played.stdout(contains("1 passed, 0 failed, 0 skipped"));
    }
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
    let mut command = Command::new(SUITE);
    let case = "podman/run/detaches-at-once-and-is-waited-for";
    command.args(["run", "--filter", case, side]).arg(monitor);
    command.assert().code(status).stderr(contains(said));
}

#[rstest]
#[case::podman(PODMAN, &["--list"])]
#[case::crio(CRIO, &["--list"])]
#[case::scenarios(SUITE, &["list"])]
fn a_reader_that_leaves_does_no_harm(#[case] program: &str, #[case] words: &[&str]) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    Command::new(program).args(words).stdout(writer).assert().success().stderr("");
}
