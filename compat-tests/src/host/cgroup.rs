//! The suite's own cgroups: one for each world, removed by its keeper.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

const MOUNT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "conmon-compat-";
/// Controllers that the unified hierarchy does not list, mounted or not.
const ONLY_V1: &[&str] = &["net_cls", "net_prio", "perf_event", "debug"];
const NONE: Option<&str> = None;

/// The cgroup of the world whose keeper has this pid.
pub fn name(keeper: u32) -> String {
    format!("{PREFIX}{keeper}")
}

/// Whether the host's hierarchy is the unified one.
pub fn is_v2() -> bool {
    statfs(MOUNT).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Whether containers can be given a memory limit.
pub fn has_memory() -> bool {
    if is_v2() {
        let file = Path::new(MOUNT).join("cgroup.controllers");
        return fs::read_to_string(file).is_ok_and(|c| c.split_whitespace().any(|c| c == "memory"));
    }
    Path::new(MOUNT).join("memory/cgroup.event_control").exists()
}

/// Makes a hybrid host usable for crun.
///
/// crun refuses version 1 hierarchies as long as the cgroup2 mount beside them owns a
/// controller. Mounting the left-over controllers as version 1, in this mount namespace
/// alone, takes them away from it. That is done even if another world has done so already:
/// the controller goes back when that world ends.
///
/// # Errors
///
/// A mount that failed.
pub fn make_usable() -> Result<()> {
    let left_over = left_over()?;
    if left_over.is_empty() { Ok(()) } else { replace_tree(&left_over) }
}

/// Whether [`make_usable`] has nothing to do.
pub fn is_usable() -> bool {
    left_over().is_ok_and(|controllers| controllers.is_empty())
}

/// Mounts and unmounts the left-over controllers, so that the kernel gives them back.
///
/// # Errors
///
/// A mount that failed.
pub fn release_controllers() -> Result<()> {
    for controller in left_over()? {
        let target = Path::new("/mnt");
        mount_controller(&controller, target)?;
        umount(target)?;
    }
    Ok(())
}

/// The controllers of a hybrid host that this mount namespace has not as version 1.
fn left_over() -> Result<Vec<String>> {
    let hybrid = !is_v2() && Path::new(MOUNT).join("unified/cgroup.controllers").exists();
    if !hybrid {
        return Ok(Vec::new());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted: Vec<&str> = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup "))
        .filter_map(|line| line.rsplit(' ').next())
        .flat_map(|options| options.split(','))
        .collect();
    let table = fs::read_to_string("/proc/cgroups")?;
    Ok(table
        .lines()
        .filter(|line| !line.starts_with('#') && line.ends_with('1'))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|controller| !mounted.contains(controller) && !ONLY_V1.contains(controller))
        .map(str::to_string)
        .collect())
}

/// What stands at the place of a hierarchy.
enum Entry {
    Link(PathBuf),
    Mounted(OwnedFd),
}

fn replace_tree(left_over: &[String]) -> Result<()> {
    let mut entries = Vec::new();
    let device = fs::metadata(MOUNT)?.dev();
    // Opened before they are covered. A directory that is no mount is nothing to keep.
    for entry in fs::read_dir(MOUNT)? {
        let path = entry?.path();
        let found = if path.is_symlink() {
            Entry::Link(fs::read_link(&path)?)
        } else if fs::metadata(&path)?.dev() == device {
            continue;
        } else {
            Entry::Mounted(open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
        };
        entries.push((path, found));
    }
    mount(Some("tmpfs"), MOUNT, Some("tmpfs"), MsFlags::empty(), NONE)?;
    for (path, found) in entries {
        match found {
            Entry::Link(target) => std::os::unix::fs::symlink(target, path)?,
            Entry::Mounted(fd) => {
                fs::create_dir(&path)?;
                let from = format!("/proc/self/fd/{}", fd.as_raw_fd());
                mount(Some(from.as_str()), &path, NONE, MsFlags::MS_BIND, NONE)
                    .with_context(|| format!("cannot bind {}", path.display()))?;
            }
        }
    }
    for controller in left_over {
        let target = Path::new(MOUNT).join(controller);
        let _ = fs::create_dir(&target);
        mount_controller(controller, &target)?;
    }
    Ok(())
}

/// Mounts one hierarchy; it may be on its way out under another world's last unmount.
fn mount_controller(controller: &str, target: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let options = Some(controller);
        match mount(options, target, Some("cgroup"), MsFlags::empty(), options) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(errno) => {
                return Err(errno).with_context(|| format!("cannot mount cgroup {controller}"));
            }
        }
    }
}

/// Removes a world's cgroups once its processes are gone.
pub fn remove(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    for hierarchy in hierarchies() {
        let top = hierarchy.join(name);
        while top.exists() {
            remove_tree(&top);
            if !top.exists() || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Removes what earlier runs, ended together with their keepers, left behind.
pub fn sweep() {
    for hierarchy in hierarchies() {
        for entry in fs::read_dir(&hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(keeper) = name.strip_prefix(PREFIX) else { continue };
            if !Path::new("/proc").join(keeper).exists() {
                remove_tree(&entry.path());
            }
        }
    }
}

fn hierarchies() -> Vec<PathBuf> {
    if is_v2() {
        return vec![PathBuf::from(MOUNT)];
    }
    let entries = fs::read_dir(MOUNT).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

/// Directories alone can be removed here; their files are the kernel's.
fn remove_tree(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(top);
}
