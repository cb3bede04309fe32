//! One run's surroundings: private file systems, directories, the bundle and the runtime.
//!
//! Nothing here has to be undone: all of it lies in the player's mount namespace.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::argv;
use crate::paths;
use crate::scenario::placeholder::expand;
use crate::scenario::{Container, RuntimeKind, Scenario};
use crate::stage::{Fault, Request, mount_proc};
use crate::sys;

const NONE: Option<&str> = None;

/// Pids start here, so that a pid is never mistaken for another number.
const FIRST_PID: &str = "30000";

/// The applets a container's shell scripts may use.
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "printf", "sleep", "true", "false", "kill", "ls", "head", "tail", "dd",
    "stty", "wc", "env", "id", "ps", "touch", "rm", "seq", "yes", "test", "readlink", "tr",
];

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

/// Opens programs before the mounts of a world cover where they lie.
pub(crate) fn open_programs(programs: Vec<(&PathBuf, String)>) -> Result<Vec<(OwnedFd, String)>> {
    let open_one = |(from, to): (&PathBuf, String)| {
        let fd = open(from.as_path(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", from.display()))?;
        Ok((fd, to))
    };
    programs.into_iter().map(open_one).collect()
}

pub(crate) fn bind_programs(opened: &[(OwnedFd, String)]) -> Result<()> {
    for (fd, to) in opened {
        fs::write(to, "").with_context(|| format!("cannot create {to}"))?;
        bind(fd, to)?;
    }
    Ok(())
}

/// Puts empty file systems over `/run`, `/tmp` and `/dev`; of what was there, `kept` stays.
pub(crate) fn cover_directories(kept: &[&str]) -> Result<()> {
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
pub(crate) fn load_fault(fault: &Fault) -> Result<()> {
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

/// The runtime itself, behind its recorder.
pub fn real_runtime(kind: RuntimeKind) -> String {
    format!("{}/real/{kind}", paths::BIN)
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

/// The arguments every call of a real runtime begins with.
pub fn runtime_arguments(kind: RuntimeKind) -> Vec<String> {
    match kind {
        RuntimeKind::Standin => Vec::new(),
        RuntimeKind::Crun | RuntimeKind::Runc => {
            vec!["--root".into(), paths::RUNTIME_ROOT.into()]
        }
    }
}

fn tmpfs(at: &str, options: &str) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
        .with_context(|| format!("cannot mount a tmpfs on {at}"))
}

fn bind(from: &OwnedFd, to: &str) -> Result<()> {
    let from = format!("/proc/self/fd/{}", from.as_raw_fd());
    mount(Some(from.as_str()), to, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("cannot bind {to}"))
}

/// A `/dev` of its own, for a `/dev/log` that is ours.
fn private_dev() -> Result<()> {
    tmpfs("/dev", "mode=0755")?;
    let nodes = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ];
    for (name, major, minor) in nodes {
        let path = format!("/dev/{name}");
        let mode = Mode::from_bits_truncate(0o666);
        mknod(path.as_str(), SFlag::S_IFCHR, mode, makedev(major, minor))
            .with_context(|| format!("cannot make {path}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
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

/// Makes the containers' root file system, without its two programs.
pub(crate) fn make_rootfs() -> Result<()> {
    let rootfs = |name: &str| format!("{}/{name}", paths::ROOTFS);
    for name in ["bin", "dev", "proc", "shared", "tmp", "etc", "run/notify"] {
        fs::create_dir_all(rootfs(name)).with_context(|| format!("cannot create {name}"))?;
    }
    fs::set_permissions(rootfs("tmp"), fs::Permissions::from_mode(0o1777))?;
    for applet in APPLETS {
        symlink("busybox", rootfs(&format!("bin/{applet}")))?;
    }
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

fn write_bundle(request: &Request, scenario: &Scenario, cid: &str) -> Result<()> {
    let container = &scenario.data.container;
    let values = paths::placeholders(request.runtime, cid, cid, None);
    let fill = |texts: &[String]| -> Result<Vec<String>> {
        texts.iter().map(|t| expand(t, &values).map_err(anyhow::Error::msg)).collect()
    };
    let mut env = vec!["PATH=/bin".to_string(), "HOME=/".into(), "TERM=xterm".into()];
    env.extend(fill(&container.env)?);
    let process = process(
        &fill(&container.argv)?,
        &env,
        container.cwd.as_deref(),
        container.user,
        container.tty,
    );
    let mut resources = json!({});
    if let Some(memory) = container.memory {
        resources = json!({"memory": {"limit": memory, "swap": memory}});
    }
    let namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({"type": kind})).collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": paths::ROOTFS},
        "hostname": "container",
        "mounts": mounts(container),
        "linux": {
            "cgroupsPath": format!("/{}/{}", request.cgroup, &cid[..cid.len().min(12)]),
            "resources": resources,
            "namespaces": namespaces,
        },
    });
    if let Some(more) = &container.oci {
        merge(&mut config, serde_json::to_value(more)?);
    }
    fs::write(format!("{}/config.json", paths::BUNDLE), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// A process as `config.json` and `exec --process` want it.
pub fn process(
    argv: &[String],
    env: &[String],
    cwd: Option<&str>,
    user: Option<u32>,
    tty: bool,
) -> Value {
    let user = user.unwrap_or(0);
    json!({
        "terminal": tty,
        "user": {"uid": user, "gid": user},
        "args": argv,
        "env": env,
        "cwd": cwd.unwrap_or("/"),
        // Raising limits needs a capability that a host may lack.
        "rlimits": [],
    })
}

fn mounts(container: &Container) -> Value {
    let mut mounts = standard_mounts();
    if container.notify {
        mounts.push(json!({"destination": "/run/notify", "type": "bind",
            "source": format!("{}/notify", paths::BUNDLE), "options": ["rbind", "rw"]}));
    }
    Value::Array(mounts)
}

pub(crate) fn standard_mounts() -> Vec<Value> {
    vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
               "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "nodev"]}),
        json!({"destination": "/shared", "type": "bind", "source": paths::SHARED,
               "options": ["rbind", "rw"]}),
    ]
}

/// Lays `more` over `base`, object by object.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}

/// Makes the directories and the process spec of an exec session.
///
/// # Errors
///
/// What could not be written.
pub fn prepare_session(
    scenario: &Scenario,
    name: &str,
    values: &std::collections::BTreeMap<&'static str, String>,
) -> Result<()> {
    let Some(session) = scenario.data.exec.get(name) else { bail!("no exec session `{name}`") };
    let value = |key: &str| values.get(key).cloned().unwrap_or_default();
    for dir in [value("session_bundle"), value("exit_dir"), value("persist_dir")] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir}"))?;
    }
    let spec = match &session.spec {
        Some(text) => expand(text, values).map_err(anyhow::Error::msg)?,
        None => {
            let argv = session
                .process
                .iter()
                .map(|word| expand(word, values).map_err(anyhow::Error::msg))
                .collect::<Result<Vec<_>>>()?;
            let mut env = vec!["PATH=/bin".to_string(), "HOME=/".into(), "TERM=xterm".into()];
            env.extend(session.process_env.iter().cloned());
            process(&argv, &env, session.process_cwd.as_deref(), None, session.tty).to_string()
        }
    };
    let path = value("process_spec");
    fs::write(Path::new(&path), spec).with_context(|| format!("cannot write {path}"))
}
