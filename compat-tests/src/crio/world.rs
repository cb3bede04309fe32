//! What a node is made of: directories where CRI-O has them, bundles, cgroups.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::request::Request;
use crate::host::cgroup;
use crate::scenario::RuntimeKind;
use crate::world::bundle::{make_rootfs, real_runtime};
use crate::world::mounts::{bind_programs, cover_directories, load_fault, open_programs};
use crate::world::paths;

/// CRI-O's defaults.
pub const EXITS: &str = "/run/crio/exits";
pub const SOCKETS: &str = "/run/crio";

const PERSIST: &str = "/run/compat/persist";
const CONTAINERS: &str = "/run/compat/containers";
const LOGS: &str = "/run/compat/logs";

/// Where systemd is reached.
const SYSTEMD: &[&str] = &["/run/systemd", "/run/dbus"];

/// The bundle of a container, its working directory.
#[must_use]
pub fn bundle(name: &str) -> PathBuf {
    Path::new(CONTAINERS).join(name).join("userdata")
}

#[must_use]
pub fn persist_dir(name: &str) -> PathBuf {
    Path::new(PERSIST).join(name)
}

/// The log, where kubelet wants it.
#[must_use]
pub fn log(name: &str) -> PathBuf {
    Path::new(LOGS).join("pod").join(name).join("0.log")
}

#[must_use]
pub fn exit_file(id: &str) -> PathBuf {
    Path::new(EXITS).join(id)
}

/// What the monitor is given as runtime.
#[must_use]
pub fn runtime(request: &Request) -> PathBuf {
    match request.runtime {
        RuntimeKind::Standin => paths::runtime(RuntimeKind::Standin).into(),
        RuntimeKind::Crun | RuntimeKind::Runc => request.tools.runtime.clone(),
    }
}

/// Makes the directories and programs of a node.
///
/// # Errors
///
/// What could not be made.
pub fn build(request: &Request) -> Result<()> {
    let tools = &request.tools;
    let mut programs = vec![
        (&request.monitor, paths::MONITOR.to_owned()),
        (&tools.payload, format!("{}{}", paths::ROOTFS, paths::PAYLOAD)),
        (&tools.busybox, format!("{}/bin/busybox", paths::ROOTFS)),
    ];
    if let Some(fault) = &request.fault {
        programs.push((&fault.library, paths::FAULT_LIBRARY.to_owned()));
    }
    if request.runtime == RuntimeKind::Standin {
        programs.push((&tools.recorder, paths::runtime(RuntimeKind::Standin)));
        programs.push((&tools.runtime, real_runtime(RuntimeKind::Standin)));
    }
    let opened = open_programs(programs)?;
    let kept = if request.host_pids { SYSTEMD } else { &[] };
    cover_directories(&[&["/run/current-system"], kept].concat())?;
    make_rootfs()?;
    for directory in [
        EXITS,
        PERSIST,
        CONTAINERS,
        LOGS,
        paths::BIN,
        &format!("{}/real", paths::BIN),
        paths::SHARED,
        paths::RUNTIME_CALLS,
        paths::RUNTIME_ROOT,
        "/run/systemd/journal",
    ] {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {directory}"))?;
    }
    bind_programs(&opened)?;
    if let Some(fault) = &request.fault {
        load_fault(fault)?;
    }
    Ok(())
}

/// Has the stand-in runtime do what `script` says, and writes down how it is called.
///
/// # Errors
///
/// A file cannot be written.
pub fn direct_standin(script: &str) -> Result<()> {
    let wrapper = paths::runtime(RuntimeKind::Standin);
    let real = real_runtime(RuntimeKind::Standin);
    let settings = json!({"real": real, "prepend": [], "record": paths::RUNTIME_CALLS});
    fs::write(format!("{wrapper}.json"), settings.to_string())?;
    Ok(fs::write(format!("{wrapper}.script.toml"), script)?)
}

/// Moves a monitor into a cgroup that has `cpus` only, as CRI-O does where it makes cgroups itself.
///
/// Without a cpuset controller for this cgroup, as in many a CI's container, it is moved all the same.
///
/// # Errors
///
/// The cgroup cannot be made or entered.
pub fn place_monitor(cgroup: &str, id: &str, pid: i32, cpus: &str) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchy = if cgroup::is_v2() {
        top.to_owned()
    } else {
        let known = ["cpuset", "cpu", "cpu,cpuacct", "pids", "memory", "systemd"];
        let found = known.iter().map(|name| top.join(name)).find(|path| path.is_dir());
        found.context("no cgroup hierarchy")?
    };
    let parent = hierarchy.join(cgroup);
    let own = parent.join(format!("crio-conmon-{id}"));
    fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
    set_cpus(&parent, &own, cpus)?;
    fs::write(own.join("cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot enter {}", own.display()))
}

/// Version 1 lets nobody into a cpuset without CPUs and memory nodes, nor gives a child its parent's.
fn set_cpus(parent: &Path, own: &Path, cpus: &str) -> Result<()> {
    if !own.join("cpuset.cpus").exists() {
        return Ok(());
    }
    if !cgroup::is_v2() {
        let above = parent.parent().context("the cgroup lies nowhere")?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(parent.join(file))?.trim().is_empty() {
                fs::write(parent.join(file), fs::read_to_string(above.join(file))?)?;
            }
        }
        fs::write(own.join("cpuset.mems"), fs::read_to_string(parent.join("cpuset.mems"))?)?;
    }
    let file = own.join("cpuset.cpus");
    fs::write(&file, cpus).with_context(|| format!("cannot write {cpus} to {}", file.display()))
}
