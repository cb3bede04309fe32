//! Where systemd makes the cgroups, as on nearly every cluster.

use std::fs;

use anyhow::Result;

use super::super::argv::Settings;
use super::super::case::{Case, Need, case};
use super::super::node::Node;
use super::super::spec::Spec;
use super::super::systemd;
use crate::host::subject::is_ours;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case(
        "systemd",
        "keeps-each-in-its-scope",
        "monitor and container are accounted for apart",
        scopes,
    )
    .needs(&[Need::Systemd]),
    case(
        "systemd",
        "survives-the-kill-signal",
        "a stopped scope sends SIGPIPE, and the container's end is recorded",
        kill_signal,
    )
    .needs(&[Need::Systemd]),
    case("systemd", "runs-commands-in-the-container", "ExecSync gets `-s` as well", exec)
        .needs(&[Need::Systemd]),
    case(
        "systemd",
        "records-the-lack-of-memory",
        "a pod's status says OOMKilled although systemd removes the scope at once",
        memory,
    )
    .needs(&[Need::Systemd, Need::Memory]),
];

fn scopes(node: &mut Node) -> Result<()> {
    let container = node.run(&Spec::payload("ctr", &["sleep-forever"]))?;
    let inside = |pid: i32, scope: &str| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroups.lines().any(|line| line.contains(scope))
    };
    let own = format!("crio-{}.scope", container.id);
    node.facts.holds("the container's scope", inside(container.pid, &own));
    node.facts.must("the monitor is in it", inside(container.monitor, &own), false);
    let property = ["show", "-P", "KillSignal", &systemd::scope(&container.id)];
    let signal = systemd::run("systemctl", &property)?;
    node.facts.must("signal of the monitor's scope", signal.trim(), 13);
    node.kill(&container)
}

fn kill_signal(node: &mut Node) -> Result<()> {
    let verbs = ["say", "up", "wait-file", "/shared/go", "exit", "5"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "up")?;
    let kill = ["kill", "--signal=SIGPIPE", &systemd::scope(&container.id)];
    systemd::run("systemctl", &kill)?;
    node.facts.holds("the monitor goes on", node.monitor_lives(&container));
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 5)
}

fn exec(node: &mut Node) -> Result<()> {
    let settings = Settings { log_size_max: Some(1 << 20), ..Settings::default() };
    let container = node.run(&Spec::payload("ctr", &["sleep-forever"]).with(settings))?;
    let answer = node.exec_sync(&container, "one", &["say", "here", "exit", "2"], Some(60))?;
    node.facts.must("answer", answer.text(), "2, stdout `here\\n`, stderr ``");
    node.kill(&container)
}

fn memory(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["alloc", "200", "exit", "0"]);
    let container = node.run(&Spec { memory: Some(48 << 20), ..spec })?;
    let exit = node.exit_of(&container)?;
    node.facts.must("exit code", exit.code, 137);
    // C conmon loses it in one of four.
    if is_ours(&node.probe.version) {
        node.facts.must("OOM killed", exit.oom_killed, true);
    }
    node.remove(&container)
}
