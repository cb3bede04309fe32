//! Whether a world can be had, and a monitor runs in it, before anything is compared.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::driver::player;
use crate::host::Host;
use crate::host::subject::Subject;
use crate::observation::{MonitorSeen, Observation};
use crate::scenario::RuntimeKind;
use crate::world::keeper;
use crate::world::programs;
use crate::world::request::Request;

/// A monitor is asked for its version.
const VERSION: &str = r#"
why = "whether a monitor runs in a world"
runtimes = ["crun"]
steps = ["launch", "wait launched"]
[monitor]
argv = ["--version"]
pipes = "none"
"#;

/// A container lives once.
const LIFE: &str = r#"
why = "whether a runtime runs in a world"
runtimes = ["crun", "runc"]
steps = ["run", "wait exit"]
"#;

/// Whether a monitor runs in a world. What lies below /tmp, /run and /dev is not there, so a script or a program that needs
/// something of it cannot.
///
/// # Errors
///
/// Why it does not.
pub fn monitor(program: &Path, host: &Host, subject: &Subject) -> Result<()> {
    let seen = play(program, host, subject, RuntimeKind::Standin, VERSION)?;
    let main = main(&seen)?;
    if main.launch.stdout.starts_with("conmon version ") {
        return Ok(());
    }
    bail!(
        "{} does not run in a world, where nothing of the host is below /tmp, /run and /dev: `--version` {}: {}{}",
        subject.path.display(),
        main.launch.status,
        main.launch.stdout,
        main.launch.stderr
    )
}

/// Whether a container lives and ends with this runtime.
///
/// # Errors
///
/// What happened instead.
pub fn runtime(program: &Path, host: &Host, subject: &Subject, kind: RuntimeKind) -> Result<()> {
    let seen = play(program, host, subject, kind, LIFE)?;
    let main = main(&seen)?;
    if main.end == "exited 0" && seen.unmet.is_empty() {
        return Ok(());
    }
    let said = [main.launch.stderr.clone(), main.reports.join(" "), seen.unmet.join("; ")];
    bail!("no container lives: the monitor {}: {}", main.end, said.join(" ").trim())
}

fn main(seen: &Observation) -> Result<&MonitorSeen> {
    seen.monitors.get("main").context("no monitor was seen")
}

fn play(
    program: &Path,
    host: &Host,
    subject: &Subject,
    runtime: RuntimeKind,
    scenario: &str,
) -> Result<Observation> {
    let request = Request {
        scenario_path: "probe/world.toml".into(),
        scenario: scenario.to_owned(),
        runtime,
        monitor: subject.path.clone(),
        tools: programs::tools(program, host, runtime)?,
        fault: None,
        deadline: None,
        cgroup: String::new(),
    };
    keeper::run(program, player::COMMAND, &request)
}
