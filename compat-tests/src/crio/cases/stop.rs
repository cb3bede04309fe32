//! Containers that end, are stopped, or lose their monitor.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::super::case::{Case, Need, case};
use super::super::node::Node;
use super::super::spec::Spec;
use super::super::world;
use super::create::catches;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case("stop", "records-every-code", "a restart policy goes by the code", codes),
    case(
        "stop",
        "lets-the-container-end-itself",
        "who handles SIGTERM ends with a status of its own",
        handled,
    ),
    case("stop", "records-the-signal", "a process that SIGTERM ends has 143", terminated),
    case(
        "stop",
        "kills-after-the-grace-period",
        "who ignores SIGTERM is killed and has 137",
        grace,
    ),
    case(
        "stop",
        "kills-before-the-start",
        "a container that was made and never started can be stopped",
        unstarted,
    ),
    case("stop", "records-the-lack-of-memory", "a pod's status says OOMKilled", memory)
        .needs(&[Need::Memory]),
    case(
        "stop",
        "survives-the-kill-signal-of-its-scope",
        "at a shutdown systemd sends SIGPIPE to the monitor",
        broken_pipe,
    ),
    case(
        "stop",
        "is-missed-when-it-is-killed",
        "CRI-O says that a container has no monitor any more",
        killed,
    ),
    case(
        "stop",
        "does-not-wait-for-a-grandchild",
        "a pipe that is held open delays no exit",
        grandchild,
    ),
];

fn codes(node: &mut Node) -> Result<()> {
    for (name, code) in [("zero", 0), ("one", 1), ("most", 255)] {
        let container = node.run(&Spec::payload(name, &["exit", &code.to_string()]))?;
        node.ends_with(&container, code)?;
    }
    Ok(())
}

fn handled(node: &mut Node) -> Result<()> {
    let verbs = ["trap", "TERM", "bye", "say", "up", "wait-signal", "exit", "4"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "up")?;
    node.signal(&container, "TERM")?;
    node.ends_with(&container, 4)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F up | stdout F bye");
    Ok(())
}

fn terminated(node: &mut Node) -> Result<()> {
    // Process 1 of a namespace would not get it.
    let spec = Spec { shared_pids: true, ..Spec::payload("ctr", &["say", "up", "sleep-forever"]) };
    let container = node.run(&spec)?;
    node.wait_log(&container, "up")?;
    node.signal(&container, "TERM")?;
    node.ends_with(&container, 143)
}

fn grace(node: &mut Node) -> Result<()> {
    let verbs = ["trap", "TERM", "not yet", "sleep-forever"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.until(|| catches(container.pid));
    node.signal(&container, "TERM")?;
    node.wait_log(&container, "not yet")?;
    node.facts.holds("it goes on", node.outlives(&container, Duration::from_millis(20)));
    node.kill(&container)
}

fn unstarted(node: &mut Node) -> Result<()> {
    let container = node.made(&Spec::payload("ctr", &["exit", "0"]))?;
    node.kill(&container)
}

fn memory(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["alloc", "200", "exit", "0"]);
    let container = node.run(&Spec { memory: Some(48 << 20), ..spec })?;
    let exit = node.exit_of(&container)?;
    node.facts.must("exit code", exit.code, 137);
    node.facts.must("OOM killed", exit.oom_killed, true);
    node.facts.holds("the file of newer callers too", container.persist.join("oom").exists());
    node.remove(&container)
}

fn broken_pipe(node: &mut Node) -> Result<()> {
    let verbs = ["say", "up", "wait-file", "/shared/go", "say", "on", "exit", "5"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "up")?;
    for _ in 0..3 {
        node.signal_monitor(&container, Signal::SIGPIPE)?;
    }
    node.facts.holds("the monitor goes on", node.monitor_lives(&container));
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 5)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F up | stdout F on");
    Ok(())
}

fn killed(node: &mut Node) -> Result<()> {
    let container = node.run(&Spec::payload("ctr", &["sleep-forever"]))?;
    node.facts.holds("it is there", node.monitor_lives(&container));
    node.signal_monitor(&container, Signal::SIGKILL)?;
    let missed = node.until(|| !node.monitor_lives(&container));
    node.facts.holds("it is missed", missed);
    let lives = node.outlives(&container, Duration::from_millis(20));
    node.facts.holds("the container goes on", lives);
    node.signal(&container, "KILL")?;
    let end = node.end_of(container.pid);
    node.facts.must("the container's end", end, "signal SIGKILL");
    node.facts.must("an exit file", world::exit_file(&container.id).exists(), false);
    node.facts.note("end of the monitor", node.end_of(container.monitor));
    node.runtime_does(&["delete", "--force", &container.id])?;
    Ok(())
}

fn grandchild(node: &mut Node) -> Result<()> {
    // In a pid namespace of its own it would be killed with its parent.
    let verbs = ["say", "up", "drain", "fork-holder", "/shared/go", "exit", "6"];
    let container = node.run(&Spec { shared_pids: true, ..Spec::payload("ctr", &verbs) })?;
    let exit = node.exit_of(&container)?;
    node.facts.must("exit code", exit.code, 6);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.remove(&container)
}
