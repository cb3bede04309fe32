//! The command itself: what it refuses, what it reports, what it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "common/root.rs"]
mod root;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/suite.rs"]
mod suite;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use root::is_root;
use skip::skipped;
use suite::{scenarios, suite};
use tempfile::TempDir;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

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
        (&["run", "--table", "docker"], "possible values: scenarios, crio, podman, faults"),
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
        .stdout(
            contains("deadline at step 1: run (")
                .and(contains("lines of its state: --verbose)"))
                .and(contains("status: State:").not()),
        );
}

#[test]
fn a_monitor_that_dies_at_once_is_an_observation() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\nno_container = \"it dies\"\nruntimes = [\"crun\"]\nsteps = [\"create\", \"wait exit\"]\n";
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
    let text = "why = \"x\"\nruntimes = [\"crun\"]\ncontainer = [\"sleep\", \"1001\"]\nsteps = [\"run\", \"write {shared}/up ''\", \"wait file {shared}/never up-to 3\"]\n";
    let directory = scenarios(text);
    let report = directory.path().join("report.xml");
    let mark = format!("COMPAT_TEST_STOP={}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    let mut run = both_the_reference(&directory);
    let run = run.args(["--jobs", "1", "--repeat", "3", "--junit"]).arg(&report);
    let run = run.env(name, value).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lives = |entry: fs::DirEntry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == b"sleep\x001001\0")
    };
    until("a container lives", || fs::read_dir("/proc").unwrap().flatten().any(lives));
    assert!(!report.exists(), "half a report");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(run.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    // At the signal, while the world is still played.
    until("the report is there", || report.exists());
    let written = fs::read_to_string(&report).unwrap();
    assert!(processes_with(&mark).len() >= 3, "only at the end");
    assert_eq!(written.matches("not played: the run was stopped").count(), 3, "{written}");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stopped by a signal: 2 of 3 were not played"), "{said}");
    let written = fs::read_to_string(&report).unwrap();
    assert_eq!(written.matches("<testcase").count(), 3, "{written}");
    assert_eq!(written.matches("not played: the run was stopped").count(), 2, "{written}");
    until("every process is gone", || processes_with(&mark).is_empty());
}

/// A run of the reference against itself.
fn both_the_reference(scenarios: &TempDir) -> Command {
    let mut run = suite();
    run.args(["run", "--candidate", "/usr/bin/conmon", "--scenarios"]).arg(scenarios.path());
    run.stdin(Stdio::null());
    run
}

/// A cgroup that lets so many processes be; removed with its owner.
struct Limited(PathBuf);

impl Limited {
    fn to(limit: usize) -> Option<Self> {
        let name = format!("compat-command-{}", std::process::id());
        for top in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let group = Self(Path::new(top).join(&name));
            let made = fs::create_dir(&group.0);
            if made.is_ok() && fs::write(group.0.join("pids.max"), limit.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_run_without_processes_says_so_and_keeps_what_it_had() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"run\", \"wait exit\"]\n";
    let directory = scenarios(text);
    for limit in [3, 6, 9] {
        let Some(group) = Limited::to(limit) else {
            skipped("no cgroup that limits processes");
            return;
        };
        let report = directory.path().join(format!("{limit}.xml"));
        let mut run = both_the_reference(&directory);
        let words = run.args(["--jobs", "2", "--repeat", "4", "--junit"]).arg(&report);
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.0.join("cgroup.procs"));
        shell.arg(words.get_program()).args(words.get_args());
        shell.assert().code(2).stderr(
            contains("out of processes")
                .and(contains("panicked").not())
                .and(contains("were not played")),
        );
        let written = fs::read_to_string(&report).unwrap();
        assert_eq!(written.matches("<testcase").count(), 4, "{written}");
        assert!(written.contains("out of processes: the kernel refused"), "{written}");
        until("the group is empty", || {
            fs::read_to_string(group.0.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
        });
    }
}

#[test]
fn what_is_skipped_is_written_where_the_summary_counts_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("skipped");
    let test = "a_run_may_end_at_the_first_failure";
    // In a user namespace without a root user.
    let mut other = Command::new("unshare");
    other.arg("--user").arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    let output = other.env("CONMON_SKIP_LOG", &log).output().unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("unshare failed") {
        return skipped("there are no user namespaces here");
    }
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(log).unwrap(), format!("{test}: worlds need root\n"));
}

#[test]
fn a_run_may_end_at_the_first_failure() {
    if !is_root() {
        return;
    }
    let text = "why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"run\", \"wait exit\"]\n[[expect]]\nof = \"both\"\npath = \"monitors.main.end\"\nis = \"exited 7\"\n";
    let directory = scenarios(text);
    let mut run = both_the_reference(&directory);
    run.args(["--jobs", "1", "--repeat", "3", "--fail-fast", "--tap"]).assert().code(1).stdout(
        contains("not ok 1 - area/name crun")
            .and(contains("ok 3 - area/name crun # SKIP not played"))
            .and(contains("\n1..3\nBail out! stopped at the first failure\n")),
    );
}

#[test]
fn a_scenario_without_a_container_fails() {
    if !is_root() {
        return;
    }
    let none =
        "why = \"x\"\nruntimes = [\"standin\"]\nsteps = [\"run\", \"wait exit\"]\n[standin]\n";
    let directory = scenarios(none);
    both_the_reference(&directory).assert().code(1).stdout(contains("no container ran"));
}

#[test]
fn an_installed_suite_needs_no_monitor_beside_itself() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("conmon-compat");
    let built = Path::new(env!("CARGO_BIN_EXE_conmon-compat"));
    fs::copy(built, &program).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let doctor = || {
        let mut doctor = Command::new(&program);
        doctor.args(["doctor", "-t", "crio"]).env("CONMON_COMPAT_FIXTURES", &fixtures);
        doctor.env("CONMON_COMPAT_TOOLS", built.parent().unwrap());
        doctor
    };
    let told = contains("candidate: none at").and(contains("name it by --candidate"));
    doctor().env_remove("CONMON_CANDIDATE").assert().success().stdout(told);
    let named = doctor().env("CONMON_CANDIDATE", "/nonexistent/conmon").assert().code(1);
    named.stdout(contains("no monitor at /nonexistent/conmon"));
}

#[test]
fn every_option_is_in_the_manual() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compat.md");
    let manual = fs::read_to_string(manual).unwrap();
    let mut missing = Vec::new();
    let mut count = 0;
    for command in ["run", "list", "show", "record", "check", "doctor", "faults"] {
        assert!(manual.contains(&format!("| `{command}")), "{command}");
        let output = suite().args([command, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for line in help.lines().filter(|line| line.trim_start().starts_with('-')) {
            // A value that an option takes is explained in a line like this, too.
            let option = line.split_whitespace().find(|word| word.starts_with("--"));
            // `--option[=VALUE]` where the value may be left out.
            let Some(option) = option.and_then(|word| word.split('[').next()) else { continue };
            count += 1;
            let named = [' ', '`'].iter().any(|end| manual.contains(&format!("{option}{end}")));
            if option != "--help" && !named {
                missing.push(format!("{command} {option}"));
            }
        }
    }
    assert!(count > 40 && missing.is_empty(), "{count} {missing:?}");
}

#[test]
fn an_unknown_word_suggests_the_nearest() {
    let directory = scenarios("why = \"x\"\nsteps = [\"run\"]\n");
    for (arguments, reason) in [
        (&["list", "--filter", "aera"][..], "did you mean `area`"),
        (&["show", "area/nmae"], "did you mean `area/name`"),
        (&["list", "--runtime", "crn"], "did you mean `crun`"),
        (&["list", "--table", "scenaros"], "'scenarios'"),
        (&["run", "--fail-fest"], "'--fail-fast'"),
    ] {
        let mut command = suite();
        command.args(arguments).arg("--scenarios").arg(directory.path());
        command.assert().code(2).stderr(contains(reason));
    }
}

#[test]
fn a_monitor_that_cannot_run_in_a_world_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let directory = scenarios("why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"run\"]\n");
    let elsewhere = directory.path().join("elsewhere");
    fs::copy("/usr/bin/conmon", &elsewhere).unwrap();
    let path = directory.path().join("conmon");
    fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", elsewhere.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    suite()
        .args(["run", "--reference", "/usr/bin/conmon", "--candidate"])
        .arg(&path)
        .arg("--scenarios")
        .arg(directory.path())
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("does not run in a world").and(contains("elsewhere")));
}

#[test]
fn what_failed_is_played_again_and_a_part_is_a_part() {
    if !is_root() {
        return;
    }
    let good = "why = \"x\"\nruntimes = [\"crun\"]\nsteps = [\"run\", \"wait exit\"]\n";
    let bad = "[[expect]]\nof = \"both\"\npath = \"monitors.main.end\"\nis = \"exited 7\"\n";
    let directory = scenarios(&format!("{good}{bad}"));
    fs::write(directory.path().join("area/other.toml"), good).unwrap();
    let report = directory.path().join("report.json");
    let html = directory.path().join("report.html");
    let mut first = both_the_reference(&directory);
    first
        .arg("--json")
        .arg(&report)
        .arg("--html")
        .arg(&html)
        .assert()
        .code(1)
        .stdout(contains("what is wrong: 2 findings").and(contains("2 runs, 1 with unexplained")));
    let page = fs::read_to_string(&html).unwrap();
    for text in
        ["1 of 2 runs failed", "command line", "--html", "its steps, and how to do it by hand"]
    {
        assert!(page.contains(text), "{text}");
    }
    let mut again = both_the_reference(&directory);
    again.arg("--rerun-failed").arg(&report).assert().code(1).stdout(contains("\n1 run, 1 with"));
    for part in ["1/2", "2/2"] {
        let mut listed = suite();
        listed.args(["list", "--shard", part, "--scenarios"]).arg(directory.path());
        let output = listed.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{output:?}");
    }
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
