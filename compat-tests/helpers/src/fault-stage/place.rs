//! Where a life is played: namespaces of its own, and the same paths in each.

use std::fs::{self, File};
use std::io::{Error, Result};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, mkfifo};

pub const ROOT: &str = "/run/life";
pub const BUNDLE: &str = "/run/life/bundle";
pub const EXITS: &str = "/run/life/exits";
pub const PERSIST: &str = "/run/life/persist";
pub const LOGS: &str = "/run/life/logs";
pub const TEMPORARY: &str = "/run/life/tmp";
pub const RUNTIME: &str = "/run/life/runtime";
pub const EXIT_COMMAND: &str = "/run/life/exit-command";
/// Where what the stand-ins do is noted.
pub const NOTES: &str = "/run/life/notes";
/// The container waits for this to be opened.
pub const GO: &str = "/run/life/notes/go";
pub const JOURNAL: &str = "/run/systemd/journal/socket";
pub const NOTIFY_HOST: &str = "/run/life/notes/host-notify";
pub const SYSLOG: &str = "/dev/log";
pub const CID: &str = "0123456789abcdef0123456789abcdef";

/// How long a life may last at the most, whatever happens in it.
const LONGEST_SECONDS: u32 = 60;

/// Goes on as process 1 of new namespaces; the process left outside gets the status to end with.
pub fn enter() -> Result<Option<ExitCode>> {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            let ended = matches!(status, WaitStatus::Exited(_, 0));
            Ok(Some(if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
        }
        ForkResult::Child => {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            nix::unistd::alarm::set(LONGEST_SECONDS);
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
            Ok(None)
        }
    }
}

/// Makes the directories and devices, and puts this program in the place of those it stands for.
pub fn build() -> Result<()> {
    let none: Option<&str> = None;
    let own = fs::read_link("/proc/self/exe")?;
    let program = File::open(&own)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
    let directories =
        [ROOT, BUNDLE, EXITS, PERSIST, LOGS, TEMPORARY, NOTES, "/run/systemd/journal", "/run/dev"];
    for directory in directories {
        fs::create_dir_all(directory)?;
    }
    mkfifo(GO, Mode::S_IRWXU).map_err(Error::from)?;
    use std::os::fd::AsRawFd;
    let program = format!("/proc/self/fd/{}", program.as_raw_fd());
    File::create("/run/life/program")?;
    mount(Some(program.as_str()), "/run/life/program", none, MsFlags::MS_BIND, none)?;
    for name in [RUNTIME, EXIT_COMMAND] {
        symlink("/run/life/program", name)?;
    }
    // A system log of our own needs a /dev of our own.
    mount(Some("tmpfs"), "/run/dev", Some("tmpfs"), MsFlags::empty(), none)?;
    for device in ["null", "zero", "urandom", "random", "tty"] {
        let place = format!("/run/dev/{device}");
        File::create(&place)?;
        let device = format!("/dev/{device}");
        mount(Some(device.as_str()), place.as_str(), none, MsFlags::MS_BIND, none)?;
    }
    fs::create_dir("/run/dev/pts")?;
    let options = Some("newinstance,ptmxmode=0666");
    mount(Some("devpts"), "/run/dev/pts", Some("devpts"), MsFlags::empty(), options)?;
    symlink("pts/ptmx", "/run/dev/ptmx")?;
    symlink("/proc/self/fd", "/run/dev/fd")?;
    mount(Some("/run/dev"), "/dev", none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(Error::from)
}

/// The names in the container's directories, sorted; temporary names without what is random.
pub fn names() -> Vec<String> {
    let mut names = Vec::new();
    for directory in [BUNDLE, EXITS, PERSIST, LOGS, TEMPORARY] {
        collect(Path::new(directory), &mut names);
    }
    names.sort();
    names
}

fn collect(directory: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, names);
        } else {
            let name = path.strip_prefix(ROOT).unwrap_or(&path);
            names.push(name.to_string_lossy().into_owned());
        }
    }
}
