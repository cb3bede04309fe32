//! The file systems of a world, and the programs that are bound into it.
//!
//! Nothing here has to be undone: all of it lies in the player's mount namespace.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::paths;
use super::programs::Fault;

const NONE: Option<&str> = None;

pub fn private_mounts() -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make mounts private")
}

/// Shows the processes of a new pid namespace.
pub fn mount_proc() -> Result<()> {
    let none: Option<&str> = None;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("cannot mount /proc")
}

/// Opens programs before the mounts of a world cover where they lie.
pub fn open_programs(programs: Vec<(&PathBuf, String)>) -> Result<Vec<(OwnedFd, String)>> {
    let open_one = |(from, to): (&PathBuf, String)| {
        let fd = open(from.as_path(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", from.display()))?;
        Ok((fd, to))
    };
    programs.into_iter().map(open_one).collect()
}

pub fn bind_programs(opened: &[(OwnedFd, String)]) -> Result<()> {
    for (fd, to) in opened {
        fs::write(to, "").with_context(|| format!("cannot create {to}"))?;
        bind(fd, to)?;
    }
    Ok(())
}

/// Puts empty file systems over `/run`, `/tmp` and `/dev`; of what was there, `kept` stays.
pub fn cover_directories(kept: &[&str]) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let open_one = |at: &&str| Some((open(*at, flags, Mode::empty()).ok()?, (*at).to_string()));
    let opened: Vec<(OwnedFd, String)> = kept.iter().filter_map(open_one).collect();
    for at in ["/run", "/tmp"] {
        tmpfs(at, "mode=0755")?;
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))?;
    for (fd, at) in &opened {
        fs::create_dir_all(at)?;
        bind(fd, at)?;
    }
    private_dev()
}

/// Has the dynamic linker load a library into every program of this world. The library acts
/// in the monitor alone; argument lists, environment and descriptors stay as they are.
pub fn load_fault(fault: &Fault) -> Result<()> {
    let (upper, work) = ("/run/etc-upper", "/run/etc-work");
    fs::write(paths::FAULT, &fault.name)?;
    fs::create_dir(upper)?;
    fs::create_dir(work)?;
    let options = format!("lowerdir=/etc,upperdir={upper},workdir={work}");
    mount(Some("overlay"), "/etc", Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .context("cannot lay a file over /etc")?;
    fs::write("/etc/ld.so.preload", format!("{}\n", paths::FAULT_LIBRARY))?;
    Ok(())
}

/// Mounts an empty file system.
pub fn tmpfs(at: &str, options: &str) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
        .with_context(|| format!("cannot mount a tmpfs on {at}"))
}

/// Shows an opened file or directory at another place.
pub fn bind(from: &OwnedFd, to: &str) -> Result<()> {
    let from = format!("/proc/self/fd/{}", from.as_raw_fd());
    mount(Some(from.as_str()), to, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("cannot bind {to}"))
}

/// A device of a world's `/dev`.
struct Device {
    path: &'static str,
    number: (u64, u64),
    mode: u32,
    /// Whether a world is none without it.
    needed: bool,
}

const fn device(path: &'static str, number: (u64, u64)) -> Device {
    Device { path, number, mode: 0o666, needed: true }
}

/// Source: Documentation/admin-guide/devices.txt of the kernel.
const DEVICES: [Device; 7] = [
    device("/dev/null", (1, 3)),
    device("/dev/zero", (1, 5)),
    device("/dev/full", (1, 7)),
    device("/dev/random", (1, 8)),
    device("/dev/urandom", (1, 9)),
    device("/dev/tty", (5, 0)),
    // Some containers have none, and a monitor in a pid namespace learns nothing from it.
    Device { path: "/dev/kmsg", number: (1, 11), mode: 0o644, needed: false },
];

impl Device {
    /// The host's, before it is covered.
    fn of_host(&self) -> Option<OwnedFd> {
        open(self.path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }

    /// Makes it; where that is not allowed, as in many containers, shows the host's.
    fn make(&self, of_host: Option<&OwnedFd>) -> Result<()> {
        let mode = Mode::from_bits_truncate(self.mode);
        let number = makedev(self.number.0, self.number.1);
        match (mknod(self.path, SFlag::S_IFCHR, mode, number), of_host) {
            (Ok(()), _) => {
                fs::set_permissions(self.path, fs::Permissions::from_mode(self.mode))?;
                Ok(())
            }
            (Err(Errno::EPERM), Some(of_host)) => {
                fs::write(self.path, "")?;
                bind(of_host, self.path)
            }
            (Err(Errno::EPERM), None) if !self.needed => Ok(()),
            (Err(errno), _) => Err(errno).with_context(|| format!("cannot make {}", self.path)),
        }
    }
}

/// A `/dev` of its own, for a `/dev/log` that is ours.
fn private_dev() -> Result<()> {
    let of_host = DEVICES.each_ref().map(Device::of_host);
    tmpfs("/dev", "mode=0755")?;
    for (device, of_host) in DEVICES.iter().zip(&of_host) {
        device.make(of_host.as_ref())?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, format!("/dev/{link}"))?;
    }
    fs::create_dir("/dev/pts")?;
    fs::create_dir("/dev/shm")?;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::empty(), options)
        .context("cannot mount /dev/pts")?;
    tmpfs("/dev/shm", "mode=1777")
}
