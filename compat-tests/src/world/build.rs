//! One run's surroundings: private file systems, directories, the bundle and the runtime.
//!
//! Nothing here has to be undone: all of it lies in the player's mount namespace.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::json;

use super::bundle::{make_rootfs, real_runtime, runtime_arguments, write_bundle};
use super::mounts::{
    bind, bind_programs, cover_directories, load_fault, mount_proc, open_programs, tmpfs,
};
use super::request::Request;
use super::{argv, paths};
use crate::scenario::placeholder::expand;
use crate::scenario::{RuntimeKind, Scenario};
use crate::sys;

/// Pids start here, so that a pid is never mistaken for another number.
const FIRST_PID: &str = "30000";

/// A built world.
pub struct World {
    pub cid: String,
}

/// Has short-lived processes take the pids that look like other numbers.
fn use_up_low_pids() {
    while sys::use_up_a_pid().is_ok_and(|pid| pid < 1000) {}
}

/// Builds the world of one run.
///
/// # Errors
///
/// The mount or file that could not be made.
pub fn build(request: &Request, scenario: &Scenario) -> Result<World> {
    mount_proc()?;
    match fs::write("/proc/sys/kernel/ns_last_pid", FIRST_PID) {
        // A kernel built without checkpoints cannot set it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => use_up_low_pids(),
        set => set.context("cannot set the first pid")?,
    }
    let tools = &request.tools;
    let mut programs = vec![
        (&request.monitor, paths::MONITOR.to_string()),
        (&tools.recorder, paths::runtime(request.runtime)),
        (&tools.exit_recorder, paths::EXIT_RECORDER.to_string()),
        (&tools.payload, format!("{}{}", paths::ROOTFS, paths::PAYLOAD)),
        (&tools.busybox, format!("{}/bin/busybox", paths::ROOTFS)),
    ];
    if let Some(fault) = &request.fault {
        programs.push((&fault.library, paths::FAULT_LIBRARY.to_string()));
    }
    let runtime_directory = runc_directory(request)?;
    if runtime_directory.is_none() {
        programs.push((&tools.runtime, real_runtime(request.runtime)));
    }
    let opened = open_programs(programs)?;
    cover_directories(&["/run/current-system"])?;
    make_directories(scenario)?;
    let directory = Path::new(&real_runtime(request.runtime)).parent().map(Path::to_path_buf);
    if let Some(directory) = directory {
        fs::create_dir_all(&directory)?;
        if let Some(real) = &runtime_directory {
            bind(real, &directory.display().to_string())?;
        }
    }
    bind_programs(&opened)?;
    if let Some(fault) = &request.fault {
        load_fault(fault)?;
    }
    let cid = argv::container_id(scenario);
    write_runtime_settings(request, scenario)?;
    write_bundle(request, scenario, &cid)?;
    for small in &scenario.data.mounts {
        let values = paths::placeholders(request.runtime, &cid, &cid, None);
        let at = expand(&small.at, &values).map_err(anyhow::Error::msg)?;
        fs::create_dir_all(&at)?;
        tmpfs(&at, &format!("mode=0755,size={}", small.size))?;
    }
    Ok(World { cid })
}

/// Opens the directory of runc, which is bound as a whole: since 1.3 it runs itself through
/// an overlay of its directory, and an overlay does not see a file that is bound there.
fn runc_directory(request: &Request) -> Result<Option<OwnedFd>> {
    let path = &request.tools.runtime;
    let named_so = path.file_name().is_some_and(|name| name == "runc");
    if request.runtime != RuntimeKind::Runc || !named_so {
        return Ok(None);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let opened = open(directory, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    opened.map(Some).with_context(|| format!("cannot open {}", directory.display()))
}

fn make_directories(scenario: &Scenario) -> Result<()> {
    make_rootfs()?;
    let mut all: Vec<String> = Vec::new();
    for dir in [
        paths::BIN,
        paths::BUNDLE,
        paths::LOG_DIR,
        paths::EXIT_DIR,
        paths::PERSIST_DIR,
        paths::SOCKET_DIR,
        paths::RUN_DIR,
        paths::TMP,
        paths::SHARED,
        paths::CWD,
        paths::RUNTIME_CALLS,
        paths::EXIT_CALLS,
        paths::RUNTIME_ROOT,
        "/run/systemd/journal",
    ] {
        all.push(dir.into());
    }
    if scenario.data.container.notify {
        all.push(format!("{}/notify", paths::BUNDLE));
    }
    for dir in &all {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))?;
    }
    fs::set_permissions(paths::SHARED, fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

fn write_runtime_settings(request: &Request, scenario: &Scenario) -> Result<()> {
    let wrapper = paths::runtime(request.runtime);
    let settings = json!({
        "real": real_runtime(request.runtime),
        "prepend": runtime_arguments(request.runtime),
        "record": paths::RUNTIME_CALLS,
    });
    fs::write(format!("{wrapper}.json"), settings.to_string())?;
    if let Some(script) = &scenario.data.standin {
        let text = toml::to_string(script).context("[standin] cannot be written")?;
        fs::write(format!("{wrapper}.script.toml"), text)?;
    }
    Ok(())
}
