//! One monitor's world: storage, configuration and an image of its own, and what is done to leave nothing behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fact::Fact;
use super::host::Host;
use super::script::{self, End, Finished};

/// All worlds are directories here, each with a locked file while it is in use.
const PARENT: &str = "/tmp/podman-compat";
const USER_ID: u32 = 1000;
const IMAGE: &str = "localhost/box";

/// Whose Podman it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Root,
    User,
}

pub struct World {
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    prefix: Vec<String>,
    owner: Owner,
    keep: bool,
    _lock: Flock<File>,
}

/// What all worlds of a run have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    pub runtime: String,
    pub systemd: bool,
    pub journald: bool,
    pub rootfs: PathBuf,
    pub prelude: String,
    pub keep: bool,
    /// Whether containers have Podman's filter of system calls.
    pub seccomp: bool,
    /// Keys of containers.conf that only this Podman knows.
    pub more_configuration: &'static str,
}

/// How long a monitor may stay when a case is over, and how long in all while Podman is still at work.
const MONITOR_ALONE: Duration = Duration::from_secs(10);
const WHILE_PODMAN_RUNS: Duration = Duration::from_secs(120);

impl World {
    /// Makes a world for `monitor`; `name` tells it apart from the others of this run.
    ///
    /// # Errors
    ///
    /// A directory cannot be made, or Podman cannot import the image.
    pub fn new(plan: &Plan, monitor: &Path, name: &str, owner: Owner) -> io::Result<Self> {
        let directory = Path::new(PARENT).join(format!("{}-{name}", std::process::id()));
        fs::create_dir_all(directory.join("work"))?;
        let lock =
            Flock::lock(File::create(directory.join("lock"))?, FlockArg::LockExclusiveNonblock)
                .map_err(|(_, errno)| io::Error::from(errno))?;
        fs::write(
            directory.join("containers.conf"),
            containers_conf(plan, monitor, &directory, owner),
        )?;
        fs::write(directory.join("storage.conf"), storage_conf(&directory))?;
        let mut environment: BTreeMap<String, String> = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
            ("HOME", if owner == Owner::Root { "/root" } else { "/home/user" }),
            ("IMAGE", IMAGE),
            ("RUNTIME", &plan.runtime),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let mut set = |key: &str, path: PathBuf| {
            environment.insert(key.to_owned(), path.to_string_lossy().into_owned());
        };
        set("CONTAINERS_CONF", directory.join("containers.conf"));
        set("CONTAINERS_STORAGE_CONF", directory.join("storage.conf"));
        set("WORLD", directory.clone());
        set("CONMON", monitor.to_owned());
        let mut prefix = Vec::new();
        if owner == Owner::User {
            environment.insert("XDG_RUNTIME_DIR".to_owned(), format!("/run/user/{USER_ID}"));
            let bus = format!("unix:path=/run/user/{USER_ID}/bus");
            environment.insert("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus);
            prefix =
                ["setpriv", "--reuid=user", "--regid=user", "--init-groups", "--pdeathsig", "KILL"]
                    .map(str::to_owned)
                    .into();
            for path in [&directory, &directory.join("work")] {
                chown(path, Some(USER_ID), Some(USER_ID))?;
            }
        }
        let world = Self { directory, environment, prefix, owner, keep: plan.keep, _lock: lock };
        world.import(&plan.rootfs)?;
        Ok(world)
    }

    fn import(&self, rootfs: &Path) -> io::Result<()> {
        let text = format!("podman import -q {} {IMAGE}", rootfs.display());
        let finished = self.run(&text, Duration::from_secs(60))?;
        if finished.end == End::Exited(0) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "podman import: {}",
            String::from_utf8_lossy(&finished.stderr)
        )))
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a script in this world.
    ///
    /// # Errors
    ///
    /// The script cannot be started.
    pub fn run(&self, text: &str, limit: Duration) -> io::Result<Finished> {
        script::run(&self.prefix, text, &self.directory.join("work"), &self.environment, limit)
    }

    /// Whether storage knows a container; asking Podman takes much longer.
    fn has_containers(&self) -> bool {
        let list = self.directory.join("root/vfs-containers/containers.json");
        fs::read_to_string(list).is_ok_and(|text| text.contains("\"id\""))
    }

    /// Waits for the monitors' end. Each ends with its exit command, which is Podman itself and takes long on a busy machine: the time
    /// counts from when none of the world's other processes is left.
    fn await_monitors(&self) {
        let mut alone = Instant::now();
        script::wait_for(WHILE_PODMAN_RUNS, || {
            let all = processes_of(&self.directory);
            let monitors = all.iter().filter(|(pid, _)| is_monitor(*pid)).count();
            if all.len() > monitors {
                alone = Instant::now();
            }
            monitors == 0 || alone.elapsed() > MONITOR_ALONE
        });
    }

    /// Removes all containers, and says which monitors are still there some time later.
    ///
    /// # Errors
    ///
    /// Podman cannot be started.
    pub fn tidy(&self) -> io::Result<Vec<String>> {
        if self.has_containers() {
            self.run("podman rm -fa -t 0", WHILE_PODMAN_RUNS)?;
        }
        self.await_monitors();
        let left = monitors(&self.directory);
        for (pid, _) in &left {
            let _already_gone = kill(*pid, Signal::SIGKILL);
        }
        let work = self.directory.join("work");
        fs::remove_dir_all(&work)?;
        fs::create_dir(&work)?;
        if self.owner == Owner::User {
            chown(&work, Some(USER_ID), Some(USER_ID))?;
        }
        Ok(left.into_iter().map(|(_, what)| what).collect())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let _best_effort = self.tidy();
        if self.owner == Owner::User {
            let _best_effort = self
                .run("podman system reset -f; podman unshare rm -rf root", Duration::from_secs(60));
        }
        remove(&self.directory);
    }
}

/// Removes what earlier runs that were killed have left behind.
pub fn sweep() {
    let Ok(entries) = fs::read_dir(PARENT) else { return };
    for directory in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let Ok(file) = File::open(directory.join("lock")) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            remove(&directory);
        }
    }
}

/// Ends the processes of a world, unmounts what is mounted in it and removes it.
fn remove(directory: &Path) {
    for (pid, _) in processes_of(directory) {
        let _already_gone = kill(pid, Signal::SIGKILL);
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let inside = |point: &&str| Path::new(point).starts_with(directory);
    let mut points: Vec<&str> =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(inside).collect();
    points.reverse();
    for point in points {
        let _best_effort =
            Command::new("umount").arg("-l").arg(point).stderr(Stdio::null()).status();
    }
    let _best_effort = fs::remove_dir_all(directory);
}

/// Processes whose command line names the world: monitors and Podman's own.
fn processes_of(directory: &Path) -> Vec<(Pid, String)> {
    let name = directory.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if u32::try_from(pid) != Ok(std::process::id()) && line.contains(&name) {
            found.push((Pid::from_raw(pid), line));
        }
    }
    found
}

fn is_monitor(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "conmon")
}

/// Monitors of a world, each with its state, for the report.
fn monitors(directory: &Path) -> Vec<(Pid, String)> {
    let mut found = processes_of(directory);
    found.retain(|(pid, _)| is_monitor(*pid));
    for (pid, line) in &mut found {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
        let kind = if line.contains("--exec-process-spec") { "exec session" } else { "container" };
        *line = format!("monitor of a {kind}, state {state}");
    }
    found
}

fn containers_conf(plan: &Plan, monitor: &Path, directory: &Path, owner: Owner) -> String {
    let manager = if plan.systemd { "systemd" } else { "cgroupfs" };
    let events = if plan.journald { "journald" } else { "file" };
    let at = |name: &str| directory.join(name).display().to_string();
    // Raising a limit takes a capability that root may lack.
    let limits = match owner {
        Owner::Root => "default_ulimits = [\"nofile=1024:1024\", \"nproc=2048:2048\"]\n",
        Owner::User => "",
    };
    let filter = if plan.seccomp { "" } else { "seccomp_profile = \"unconfined\"\n" };
    format!(
        "[containers]\n{limits}{filter}netns = \"none\"\nlog_driver = \"k8s-file\"\n\
         [engine]\ncgroup_manager = \"{manager}\"\nevents_logger = \"{events}\"\nruntime = \"{}\"\n\
         exit_command_delay = 1\nconmon_path = [\"{}\"]\nstatic_dir = \"{}\"\ntmp_dir = \"{}\"\nvolume_path = \"{}\"\n{}",
        plan.runtime,
        monitor.display(),
        at("root/libpod"),
        at("tmp"),
        at("volumes"),
        plan.more_configuration,
    )
}

fn storage_conf(directory: &Path) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        at("root"),
        at("run")
    )
}

/// Packs a root file system of nothing but a static busybox.
///
/// # Errors
///
/// There is no static busybox, or `tar` fails.
pub fn make_rootfs(directory: &Path) -> io::Result<PathBuf> {
    let candidates = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/sbin/busybox"];
    let busybox = candidates.iter().map(Path::new).find(|path| path.exists());
    let busybox = busybox.ok_or_else(|| io::Error::other("busybox is not installed"))?;
    let tree = directory.join("rootfs");
    for name in ["bin", "etc", "tmp", "proc", "dev", "sys", "run", "root"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::copy(busybox, tree.join("bin/busybox"))?;
    fs::set_permissions(tree.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
    let applets = Command::new(busybox).arg("--list").output()?;
    for applet in
        String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox")
    {
        symlink("busybox", tree.join("bin").join(applet))?;
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(tree.join("etc/group"), "root:x:0:\n")?;
    let archive = directory.join("rootfs.tar");
    let status =
        Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&archive).arg(".").status()?;
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644))?;
    fs::remove_dir_all(&tree)?;
    if status.success() { Ok(archive) } else { Err(io::Error::other("tar failed")) }
}

/// A directory for this run beside its worlds.
///
/// # Errors
///
/// It cannot be made.
pub fn run_directory() -> io::Result<PathBuf> {
    let directory = Path::new(PARENT).join(format!("{}-run", std::process::id()));
    fs::create_dir_all(&directory)?;
    fs::set_permissions(PARENT, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// Finds the first runtime under which Podman can run a container here, with any monitor.
///
/// # Errors
///
/// Why none works.
pub fn choose_runtime(
    host: &Host,
    wanted: &[String],
    plan: &Plan,
    monitor: &Path,
) -> Result<String, String> {
    let mut reasons = Vec::new();
    for (number, runtime) in wanted.iter().enumerate() {
        let plan =
            Plan { runtime: runtime.clone(), systemd: host.has(Fact::Systemd), ..plan.clone() };
        let name = format!("probe{number}");
        let outcome = World::new(&plan, monitor, &name, Owner::Root).and_then(|world| {
            world.run("podman run --rm \"$IMAGE\" true", Duration::from_secs(60))
        });
        match outcome {
            Ok(finished) if finished.end == End::Exited(0) => return Ok(runtime.clone()),
            Ok(finished) => {
                reasons.push(format!(
                    "{runtime}: {}",
                    String::from_utf8_lossy(&finished.stderr).trim()
                ));
            }
            Err(error) => reasons.push(format!("{runtime}: {error}")),
        }
    }
    Err(reasons.join("\n"))
}
