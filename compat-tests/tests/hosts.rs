//! Hosts that lack something: cases are played without it, or skipped with the reason, and `doctor` knows which.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "common/root.rs"]
mod root;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/suite.rs"]
mod suite;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use conmon_compat::host;
use root::is_root;
use skip::skipped;
use suite::suite;

/// Of each kind of world: monitor and runtime, the stand-in, a terminal, CRI-O's.
const SLICE: [&str; 4] = [
    "lifecycle/exit_status_is_reported",
    "cli/default_socket_directory",
    "lifecycle/create_arguments_with_a_terminal",
    "crio/create/gets-a-terminal",
];

/// Runs the suite by another program, which takes something away and then executes its last arguments.
fn without(taken: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::new("env");
    command.args(taken).arg(suite().get_program()).args(arguments);
    command.output().unwrap()
}

/// Plays some cases, all of which must be good, and asks `doctor`; what that says.
fn plays(taken: &[&str], runtimes: &[&str]) -> String {
    let mut arguments = vec!["run"];
    SLICE.iter().for_each(|filter| arguments.extend(["-f", filter]));
    runtimes.iter().for_each(|runtime| arguments.extend(["-r", runtime]));
    let played = without(taken, &arguments);
    let said = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.status.success(), "{said}{}", String::from_utf8_lossy(&played.stderr));
    let doctor = without(taken, &["doctor", "-t", "scenarios", "-t", "crio"]);
    String::from_utf8_lossy(&doctor.stdout).into_owned()
}

#[test]
fn a_world_needs_no_right_to_make_devices() {
    if !is_root() {
        return;
    }
    if host::find("runc").is_none() || host::find("setpriv").is_none() {
        return skipped("no runc, which shows the host's devices as we do, or no setpriv");
    }
    let taken = ["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"];
    let said = plays(&taken, &["runc", "standin"]);
    // crun cannot do without, and that is said.
    assert!(
        said.contains("ok   candidate: ") && said.contains("a container with crun: "),
        "{said}"
    );
}

/// Podman's table begins with a search for a runtime that works.
#[test]
fn a_run_that_finds_no_runtime_leaves_nothing() {
    if !is_root() {
        return;
    }
    if ["crun", "podman", "setpriv"].into_iter().any(|name| host::find(name).is_none()) {
        return skipped("no crun, which makes devices itself, no podman or no setpriv");
    }
    let mut command = Command::new("setpriv");
    let mut run = command
        .args(["--bounding-set=-mknod", "--inh-caps=-mknod"])
        .arg(suite().get_program())
        .args(["run", "-r", "crun", "-f", "podman/run/reports-a-missing-command"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let directory = format!("/tmp/podman-compat/{}-run", run.id());
    let mut said = String::new();
    run.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!run.wait().unwrap().success() && said.contains("no runtime works here"), "{said}");
    assert!(!Path::new(&directory).exists(), "{directory}");
}

#[test]
fn a_host_without_a_memory_controller_skips_what_needs_it() {
    if !is_root() {
        return;
    }
    // On a host with hybrid cgroups the controllers are version 1's.
    let script = "mount -t cgroup2 none /sys/fs/cgroup && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers && exec \"$0\" \"$@\"";
    let taken = ["unshare", "--mount", "sh", "-c", script];
    if !without(&taken, &["--version"]).status.success() {
        return skipped("the unified cgroup hierarchy has the memory controller");
    }
    let said = plays(&taken, &["crun", "runc", "standin"]);
    assert!(said.contains("lack memory controller: no memory controller"), "{said}");
    assert!(said.contains("  oom/") && said.contains(": no memory controller"), "{said}");
}

#[test]
fn checkpoints_are_tried_not_believed() {
    if !is_root() {
        return;
    }
    let script = "mount -t tmpfs none /proc/sys/kernel && exec \"$0\" \"$@\"";
    let taken = ["unshare", "--mount", "sh", "-c", script];
    let doctor = without(&taken, &["doctor", "-f", "cli/cid_is_required"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("lack criu: the kernel is built without"), "{said}");
}
