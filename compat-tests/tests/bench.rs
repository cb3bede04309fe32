//! The benchmark works: a short round of every case yields figures for both monitors. What the
//! figures are is no matter of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[test]
fn a_quick_round_measures_both_monitors_in_every_case() {
    let program = env!("CARGO_BIN_EXE_conmon-compat");
    let beside = || Path::new(program).with_file_name("conmon");
    let candidate = from_env("CONMON_CANDIDATE").unwrap_or_else(beside);
    let reference = from_env("CONMON_REFERENCE").unwrap_or("/usr/bin/conmon".into());
    let work = tempfile::tempdir().unwrap();
    let (json, html) = (work.path().join("json"), work.path().join("html"));

    let output = Command::new(program)
        .args(["bench", "--quick"])
        .args(["--reference".as_ref(), reference.as_os_str()])
        .args(["--candidate".as_ref(), candidate.as_os_str()])
        .args(["--json".as_ref(), json.as_os_str()])
        .args(["--html".as_ref(), html.as_os_str()])
        .args(["--tmpfs".as_ref(), work.path().as_os_str()])
        .args(["--disk".as_ref(), work.path().as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let text = std::fs::read_to_string(json).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    let listed = Command::new(program).args(["bench", "--list", "--quick"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let cases = result["cases"].as_array().unwrap();
    let names: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(names, listed.lines().collect::<Vec<_>>());
    for case in cases.iter().filter(|case| case["skipped"].is_null()) {
        let measures = case["measures"].as_array().unwrap();
        assert!(!measures.is_empty(), "{case}");
        for subject in measures.iter().flat_map(|measure| measure["subjects"].as_array().unwrap()) {
            assert_eq!(subject["samples"].as_array().map(Vec::len), Some(1), "{case}");
        }
    }
    assert!(std::fs::read_to_string(html).unwrap().contains("memory/idle"));
    // It cleans up after itself.
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 2);
}

/// The command lines in which `name` occurs.
fn processes(name: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(name)).collect()
}

fn within(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !fact() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Whatever signal ends it, the monitors it has started end, too, and its files go.
#[test]
fn a_signal_that_ends_it_ends_its_monitors() {
    let program = env!("CARGO_BIN_EXE_conmon-compat");
    let beside = || Path::new(program).with_file_name("conmon");
    let candidate = from_env("CONMON_CANDIDATE").unwrap_or_else(beside);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        let work = tempfile::tempdir().unwrap();
        let place = work.path().to_str().unwrap();
        let mut bench = Command::new(program)
            .args(["bench", "--quick", "--case", "scale/10/at-work"])
            .args(["--candidate".as_ref(), candidate.as_os_str()])
            .args(["--tmpfs", place, "--disk", place])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let monitors = || {
            let mut lines = processes(place);
            lines.retain(|line| line.contains("--exit-dir"));
            lines.len()
        };
        // They are at work for two seconds.
        assert!(within(Duration::from_secs(60), || monitors() >= 10), "{:?}", processes(place));
        kill(Pid::from_raw(i32::try_from(bench.id()).unwrap()), signal).unwrap();
        bench.wait().unwrap();
        let gone = || processes(place).is_empty() && fs::read_dir(place).unwrap().count() == 0;
        assert!(within(Duration::from_secs(20), gone), "{signal}: {:?}", processes(place));
    }
}
