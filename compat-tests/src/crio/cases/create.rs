//! Containers that come to be.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use super::super::argv::{self, Restore, Settings};
use super::super::case::{Case, Runtimes, case};
use super::super::node::Node;
use super::super::spec::Spec;
use super::super::world;
use crate::host;
use crate::observe::{process, records};
use crate::text;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case(
        "create",
        "reports-the-pid",
        "the pid, its file and the monitor's must agree before CRI-O goes on",
        reports,
    ),
    case(
        "create",
        "waits-for-the-start-byte",
        "whatever runs earlier is not in the monitor's cgroup",
        waits,
    ),
    case(
        "create",
        "gets-a-terminal",
        "a pod with `tty: true` talks to one, and its log has one stream",
        terminal,
    ),
    case(
        "create",
        "serves-two-containers-of-a-pod",
        "one exits directory and one socket directory serve all",
        pod,
    ),
    case(
        "create",
        "serves-the-infra-container",
        "a pod's first container does nothing until it is told to stop",
        infra,
    ),
    case(
        "create",
        "starts-behind-another-command",
        "CRI-O may put taskset before the monitor",
        behind,
    ),
    case(
        "create",
        "keeps-the-minimal-environment",
        "the monitor has what CRI-O gave it and nothing else",
        environment,
    ),
    case(
        "create",
        "runs-on-the-cpus-of-the-infrastructure",
        "with `infra_ctr_cpuset` or a workload CRI-O moves the monitor, and its children follow",
        on_cpus,
    ),
    case("create", "makes-no-pivot", "`no_pivot` reaches the runtime as its option", no_pivot)
        .with(Runtimes::Standin),
    case(
        "create",
        "restores-a-checkpoint",
        "a restore is a create with other words to the runtime",
        restores,
    )
    .with(Runtimes::Standin),
    case(
        "create",
        "outlives-its-caller",
        "a container goes on when CRI-O is restarted, and its end is found later",
        outlives,
    ),
    case(
        "create",
        "takes-the-place-of-a-killed-monitor",
        "what a killed monitor left must not be in the way",
        again,
    ),
];

fn reports(node: &mut Node) -> Result<()> {
    let container = node.run(&Spec::payload("ctr", &["say", "up", "exit", "3"]))?;
    node.ends_with(&container, 3)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F up");
    Ok(())
}

fn waits(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["exit", "0"]);
    let mut launched = node.launch(&spec)?;
    let pid = launched.pid();
    let waits = node.until(|| {
        process::comm(pid).as_deref() == Some("conmon") && process::state(pid) == Some('S')
    });
    node.facts.holds("it sleeps", waits);
    let parent = u32::try_from(pid)?;
    node.facts.must("its children", process::children_of(parent).len(), 0);
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.count();
    node.facts.must("its threads", tasks, 1);
    launched.sync.pump();
    node.facts.must("bytes in the sync pipe", launched.sync.bytes().len(), 0);
    let in_bundle = fs::read_dir(world::bundle("ctr"))?.count();
    node.facts.note("files in the bundle", in_bundle);
    match node.finish(&spec, launched)? {
        super::super::container::Creation::Made(container) => {
            node.start(&container)?;
            node.ends_with(&container, 0)
        }
        super::super::container::Creation::Failed(reason) => anyhow::bail!(reason),
    }
}

fn terminal(node: &mut Node) -> Result<()> {
    let settings = Settings { tty: true, ..Settings::default() };
    let verbs = ["isatty", "say-err", "err", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs).with(settings))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container);
    let lines = text::escape(&log.stdout);
    node.facts.must("stdout", lines, "tty tty tty\\r\\nerr\\r\\n");
    node.facts.must("stderr", text::escape(&log.stderr), "");
    Ok(())
}

fn pod(node: &mut Node) -> Result<()> {
    let infra = node.run(&Spec::payload("infra", &["sleep-forever"]))?;
    let one = ["say", "one", "wait-file", "/shared/one", "exit", "1"];
    let two = ["say", "two", "wait-file", "/shared/two", "exit", "2"];
    let one = node.run(&Spec::payload("one", &one))?;
    let two = node.run(&Spec::payload("two", &two))?;
    node.wait_log(&one, "one")?;
    node.wait_log(&two, "two")?;
    // The later one ends first.
    fs::write(format!("{}/two", paths::SHARED), "")?;
    node.ends_with(&two, 2)?;
    let lives = node.monitor_lives(&one) && node.monitor_lives(&infra);
    node.facts.holds("the others go on", lives);
    fs::write(format!("{}/one", paths::SHARED), "")?;
    node.ends_with(&one, 1)?;
    node.kill(&infra)
}

fn infra(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("infra", &["trap", "TERM", "stopping", "wait-signal", "exit", "0"]);
    let log = format!("{}/{}.log", world::bundle("infra").display(), node.id("infra"));
    let container = node.run(&Spec { log: Some(log.into()), ..spec })?;
    // A signal before the handler is there would be lost.
    node.until(|| catches(container.pid));
    node.signal(&container, "TERM")?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F stopping");
    Ok(())
}

/// Whether the test program runs as this process and has a handler for SIGTERM; the runtime's own, before it, may have one too.
pub(super) fn catches(pid: i32) -> bool {
    if process::comm(pid).as_deref() != Some("payload") {
        return false;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.is_some_and(|mask| process::signals(mask.trim()).iter().any(|name| name == "SIGTERM"))
}

fn behind(node: &mut Node) -> Result<()> {
    let taskset = host::find("taskset").context("taskset is not installed")?;
    let prefix = vec![taskset.display().to_string(), "ffffffff".to_owned()];
    let container = node.run(&Spec { prefix, ..Spec::payload("ctr", &["exit", "4"]) })?;
    node.ends_with(&container, 4)
}

fn on_cpus(node: &mut Node) -> Result<()> {
    let monitor_cpus = Some("0".to_owned());
    let container = node.run(&Spec { monitor_cpus, ..Spec::payload("ctr", &["sleep-forever"]) })?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.monitor))?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
    // All of them on a host whose controllers do not reach here.
    node.facts.note("CPUs of the monitor", cpus.context("no CPUs in the status")?);
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    let inside = cgroups.contains("crio-conmon-");
    node.facts.must("the container is in the monitor's cgroup", inside, false);
    node.kill(&container)
}

fn environment(node: &mut Node) -> Result<()> {
    let container = node.run(&Spec::payload("ctr", &["sleep-forever"]))?;
    let environ = fs::read(format!("/proc/{}/environ", container.monitor))?;
    let seen: BTreeSet<String> =
        environ.split(|byte| *byte == 0).filter(|v| !v.is_empty()).map(text::escape).collect();
    let given: BTreeSet<String> =
        argv::environment().iter().map(|(key, value)| format!("{key}={value}")).collect();
    node.facts.must("environment", format!("{seen:?}"), format!("{given:?}"));
    let cwd = fs::read_link(format!("/proc/{}/cwd", container.monitor))?;
    node.facts.note("working directory", cwd.display());
    let stdio = [0, 1, 2].map(|fd| fs::read_link(format!("/proc/{}/fd/{fd}", container.monitor)));
    let null = stdio.iter().flatten().filter(|path| path.as_os_str() == "/dev/null").count();
    node.facts.must("standard streams that are /dev/null", null, 3);
    node.kill(&container)
}

fn no_pivot(node: &mut Node) -> Result<()> {
    direct_standin("exit")?;
    let settings = Settings { no_pivot: true, ..Settings::default() };
    let container = node.made(&Spec::payload("ctr", &[]).with(settings))?;
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 3)?;
    let argv = runtime_call();
    node.facts.holds("the option reaches the runtime", argv.contains("\"--no-pivot\""));
    node.facts.note("call of the runtime", argv);
    Ok(())
}

fn restores(node: &mut Node) -> Result<()> {
    direct_standin("restored")?;
    let restore = Restore {
        directory: "/tmp/checkpoint".to_owned(),
        lsm_profile: Some("label".to_owned()),
        lsm_mount_context: Some("context".to_owned()),
    };
    let settings = Settings { restore: Some(restore), ..Settings::default() };
    let container = node.made(&Spec::payload("ctr", &[]).with(settings))?;
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 3)?;
    let argv = runtime_call();
    for word in ["restore", "--lsm-profile=selinux:label", "--lsm-mount-context=context"] {
        node.facts.holds(format!("the runtime gets {word}"), argv.contains(&format!("\"{word}\"")));
    }
    node.facts.note("call of the runtime", argv);
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F restored");
    Ok(())
}

/// Has the stand-in run a container that says `text` when it is let go, and ends with 3.
fn direct_standin(text: &str) -> Result<()> {
    let program = format!("{}{}", paths::ROOTFS, paths::PAYLOAD);
    let go = format!("{}/go", paths::SHARED);
    let words = [&program, "wait-file", &go, "say", text, "exit", "3"];
    world::direct_standin(&format!("container = {words:?}"))
}

/// The arguments of the only call of the stand-in.
fn runtime_call() -> String {
    let calls = records::read(paths::RUNTIME_CALLS, "runtime", &mut Default::default());
    let argv: Vec<String> =
        calls.iter().filter_map(|call| call.get("argv")).map(ToString::to_string).collect();
    argv.join(" ")
}

fn outlives(node: &mut Node) -> Result<()> {
    let verbs = ["say", "up", "wait-file", "/shared/go", "say", "down", "exit", "3"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "up")?;
    fs::write(format!("{}/go", paths::SHARED), "")?;
    // Nobody watches: what a new CRI-O goes by is the file.
    let written = node.until(|| world::exit_file(&container.id).exists());
    node.facts.holds("the end is found later", written);
    node.ends_with(&container, 3)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F up | stdout F down");
    Ok(())
}

fn again(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["sleep-forever"]);
    let first = node.run(&spec)?;
    node.signal_monitor(&first, nix::sys::signal::Signal::SIGKILL)?;
    node.facts.note("end of the first monitor", node.end_of(first.monitor));
    node.signal(&first, "KILL")?;
    node.facts.note("end of its container", node.end_of(first.pid));
    node.runtime_does(&["delete", "--force", &first.id])?;
    node.facts.holds("the socket is left", first.bundle.join("attach").exists());
    // Another container of the same id, as a restore makes it; CRI-O removes what it knows of.
    for name in ["attach", "ctl", "winsz"] {
        let _ = fs::remove_file(first.bundle.join(name));
    }
    // The facts of the first have the same names.
    node.facts.seen.clear();
    let second = node.run(&Spec::payload("ctr", &["say", "again", "exit", "5"]))?;
    node.ends_with(&second, 5)
}
