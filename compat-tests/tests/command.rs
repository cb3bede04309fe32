//! The command itself: what it refuses, what it reports, what it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use tempfile::TempDir;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn suite() -> Command {
    Command::new(env!("CARGO_BIN_EXE_conmon-compat"))
}

/// A directory with one scenario, `area/name`.
fn scenarios(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("area")).unwrap();
    fs::write(directory.path().join("area/name.toml"), text).unwrap();
    directory
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: worlds need root");
    }
    root
}

/// A program that says it is a monitor and then does something else.
fn monitor(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("conmon");
    let text =
        format!("#!/bin/sh\n[ \"$1\" = --version ] && echo conmon version 9.9.9 && exit\n{body}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn refuses_a_scenario_with_file_line_and_reason() {
    let directory = scenarios("why = \"x\"\nsteps = [\n  \"run\",\n  \"jump\",\n]\n");
    suite()
        .args(["list", "--scenarios"])
        .arg(directory.path())
        .assert()
        .code(2)
        .stderr(contains("area/name.toml:4: unknown step `jump`"));
}

#[test]
fn says_before_anything_runs_that_a_monitor_is_missing() {
    let directory = scenarios("why = \"x\"\nsteps = [\"run\"]\n");
    suite()
        .args(["run", "--reference", "/nonexistent/conmon", "--scenarios"])
        .arg(directory.path())
        .assert()
        .code(2)
        .stderr(contains("no monitor at /nonexistent/conmon"));
}

#[test]
fn refuses_a_program_that_is_no_monitor() {
    let directory = scenarios("why = \"x\"\nsteps = [\"run\"]\n");
    suite()
        .args(["run", "--reference", "/bin/true", "--scenarios"])
        .arg(directory.path())
        .assert()
        .code(2)
        .stderr(contains("does not say `conmon version ...`"));
}

#[test]
fn a_run_of_nothing_is_not_green() {
    let directory = scenarios("why = \"x\"\nsteps = [\"run\"]\n");
    for (arguments, reason) in [
        (&["run", "--repeat", "0"][..], "a number from 1 on"),
        (&["run", "--jobs", "0"], "a number from 1 on"),
        (&["run", "--filter", "nowhere"], "no case fits `nowhere`"),
        (&["list", "--runtime", "docker"], "one of crun, runc, standin"),
        (&["show", "area/other"], "no case `area/other`"),
    ] {
        let mut command = suite();
        command.args(arguments).arg("--scenarios").arg(directory.path());
        command.assert().code(2).stderr(contains(reason));
    }
}

#[test]
fn says_before_anything_runs_that_a_report_cannot_be_written() {
    if !is_root() {
        return;
    }
    let directory = scenarios("why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"run\"]\n");
    let fine = monitor(directory.path(), "exit 1");
    suite()
        .args(["run", "--junit", "/nonexistent/x.xml", "--reference"])
        .arg(&fine)
        .arg("--candidate")
        .arg(&fine)
        .arg("--scenarios")
        .arg(directory.path())
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("cannot write /nonexistent/x.xml"));
}

#[test]
fn shows_a_scenario_in_words_and_as_commands() {
    let directory = scenarios(
        "why = \"because\"\nrules = [\"CLI-1\"]\ncontainer = [\"sh\", \"-c\", \"exit 3\"]\nsteps = [\"run\", \"wait exit\"]\n",
    );
    suite()
        .args(["show", "area/name", "--scenarios"])
        .arg(directory.path())
        .assert()
        .success()
        .stdout(
            contains("because").and(contains("CLI-1")).and(contains("conmon --api-version 1 -c")),
        );
}

#[test]
fn a_monitor_that_hangs_is_reported_with_its_state() {
    if !is_root() {
        return;
    }
    let text =
        "why = \"x\"\nruntimes = [\"crun\"]\ndeadline = 1.0\nsteps = [\"run\", \"wait exit\"]\n";
    let directory = scenarios(text);
    let hanging = monitor(directory.path(), "exec sleep 1000");
    suite()
        .args(["run", "--divergences", "none", "--reference"])
        .arg(&hanging)
        .arg("--candidate")
        .arg(&hanging)
        .arg("--scenarios")
        .arg(directory.path())
        .arg("--keep")
        .arg(directory.path().join("kept"))
        .assert()
        .code(1)
        .stdout(contains("deadline at step 1: run").and(contains("status: State:")));
}

#[test]
fn a_monitor_that_dies_at_once_is_an_observation() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"create\", \"wait exit\"]\n";
    let directory = scenarios(text);
    let dying = monitor(directory.path(), "echo sorry >&2; kill -SEGV $$");
    suite()
        .args(["run", "--divergences", "none", "--reference"])
        .arg(&dying)
        .arg("--candidate")
        .arg(&dying)
        .arg("--scenarios")
        .arg(directory.path())
        .arg("--keep")
        .arg(directory.path().join("kept"))
        .assert()
        .success();
    let seen =
        fs::read_to_string(directory.path().join("kept/area/name.crun.candidate.json")).unwrap();
    assert!(seen.contains("killed by SIGSEGV") && seen.contains("sorry"), "{seen}");
}

/// Processes whose environment has `mark`, in all pid namespaces below this one.
fn processes_with(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The cgroups of worlds whose keepers are gone.
fn orphaned_cgroups() -> Vec<PathBuf> {
    let tops = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|e| e.path());
    tops.chain([PathBuf::from("/sys/fs/cgroup")])
        .filter_map(|top| fs::read_dir(top).ok())
        .flat_map(|entries| entries.flatten().map(|e| e.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix("conmon-compat-")
                .is_some_and(|keeper| !Path::new("/proc").join(keeper).exists())
        })
        .collect()
}

#[test]
fn a_killed_run_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\ncontainer = [\"sleep\", \"1000\"]\nsteps = [\"run\", \"write {shared}/up ''\", \"wait file {shared}/never\"]\n";
    let directory = scenarios(text);
    let mark = format!("COMPAT_TEST_MARK={}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    let mut run = suite()
        .args(["run", "--candidate", "/usr/bin/conmon", "--scenarios"])
        .arg(directory.path())
        .env(name, value)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The player, its keeper and the suite carry the mark; wait until worlds are up.
    until("worlds run", || processes_with(&mark).len() >= 5);
    run.kill().unwrap();
    run.wait().unwrap();
    until("every process is gone", || processes_with(&mark).is_empty());
    until("every cgroup is gone", || orphaned_cgroups().is_empty());
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_had() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\nruntimes = [\"crun\"]\ncontainer = [\"sleep\", \"1000\"]\nsteps = [\"run\", \"write {shared}/up ''\", \"wait file {shared}/never up-to 3\"]\n";
    let directory = scenarios(text);
    let report = directory.path().join("report.xml");
    let mark = format!("COMPAT_TEST_STOP={}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    let run = suite()
        .args([
            "run",
            "--candidate",
            "/usr/bin/conmon",
            "--jobs",
            "1",
            "--repeat",
            "3",
            "--scenarios",
        ])
        .arg(directory.path())
        .arg("--junit")
        .arg(&report)
        .env(name, value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("a world runs", || processes_with(&mark).len() >= 3);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(run.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stopped by a signal"), "{said}");
    let written = fs::read_to_string(&report).unwrap();
    assert_eq!(written.matches("<testcase").count(), 3, "{written}");
    assert_eq!(written.matches("not played: the run was stopped").count(), 2, "{written}");
    until("every process is gone", || processes_with(&mark).is_empty());
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
