//! Where the measurements happen: directories, runtimes, and a place for a journal.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::prctl;

use super::measure::FLOOR;
use super::options::{Options, Subject};
use super::problem::Problem;
use crate::world::programs;

/// Taken in, because an installed suite has no directory of its build; empty where it could not be
/// built.
const FLOOR_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor"));

/// The place and its means. Dropping it removes the directories.
pub struct Lab {
    pub tmpfs: PathBuf,
    pub disk: PathBuf,
    pub payload: PathBuf,
    standin: PathBuf,
    /// The least monitor, where one could be built.
    pub floor: Option<Subject>,
    pub runtime: PathBuf,
    /// Why there is no real runtime to measure with.
    pub no_runtime: Option<String>,
    /// Why no journal can be put in the place of the host's.
    pub no_journal: Option<String>,
    pub quick: bool,
    pub bytes: u64,
    count: Cell<u32>,
}

impl Lab {
    pub fn open(number: u32, options: &Options) -> Result<Self, Problem> {
        let program = std::env::current_exe().map_err(Problem::io("this program"))?;
        let helper = |name: &str| {
            programs::helper(&program, name).map_err(|error| Problem::new(error.to_string()))
        };
        let payload = helper("payload")?;
        let beside = || Ok(programs::directory(&program).join("standin-runtime"));
        let standin = options.standin.clone().map_or_else(beside, Ok);
        let standin = standin.and_then(fs::canonicalize);
        // The monitors' orphans, and they themselves, come to us to be reaped.
        prctl::set_child_subreaper(true).map_err(Problem::io("subreaper"))?;
        let no_journal = hide_journal().err().map(|problem| problem.to_string());
        let [tmpfs, disk] = directories(number, options);
        for directory in [&tmpfs, &disk] {
            fs::create_dir(directory).map_err(Problem::io(directory.display()))?;
        }
        let mut lab = Self {
            tmpfs,
            disk,
            payload: PathBuf::new(),
            standin: standin.map_err(Problem::io("the stand-in runtime"))?,
            floor: None,
            runtime: options.runtime.clone(),
            no_runtime: None,
            no_journal,
            quick: options.quick,
            bytes: options.megabytes * 1_000_000,
            count: Cell::new(0),
        };
        // Near the root, so that no path becomes too long for a socket.
        lab.payload = lab.tmpfs.join("payload");
        fs::copy(payload, &lab.payload).map_err(Problem::io("the payload"))?;
        if !FLOOR_PROGRAM.is_empty() {
            let path = lab.tmpfs.join(FLOOR);
            fs::write(&path, FLOOR_PROGRAM).map_err(Problem::io("the floor"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(Problem::io("the floor"))?;
            lab.floor = Some(Subject { label: FLOOR.to_owned(), path });
        }
        lab.no_runtime = lab.try_runtime().err().map(|problem| problem.to_string());
        Ok(lab)
    }

    /// A directory for one monitor, on tmpfs.
    pub fn place(&self) -> Result<PathBuf, Problem> {
        self.count.set(self.count.get() + 1);
        let place = self.tmpfs.join(self.count.get().to_string());
        fs::create_dir(&place).map_err(Problem::io(place.display()))?;
        Ok(place)
    }

    /// A stand-in runtime in `place` whose container runs `words`.
    pub fn stand_in(&self, place: &Path, words: &[String]) -> Result<PathBuf, Problem> {
        let path = place.join("rt");
        symlink(&self.standin, &path).map_err(Problem::io("the stand-in runtime"))?;
        let program = self.payload.display().to_string();
        let container: Vec<&str> =
            std::iter::once(program.as_str()).chain(words.iter().map(String::as_str)).collect();
        let script = format!("container = {}\n", serde_json::Value::from(container));
        fs::write(place.join("rt.script.toml"), script).map_err(Problem::io("the script"))?;
        Ok(path)
    }

    /// A bundle in `place` for a real runtime.
    pub fn bundle(&self, place: &Path, words: &[String]) -> Result<(), Problem> {
        let root = place.join("rootfs");
        for directory in ["proc", "dev", "sys"] {
            let made = fs::create_dir_all(root.join(directory));
            made.map_err(Problem::io("the root directory"))?;
        }
        fs::copy(&self.payload, root.join("payload")).map_err(Problem::io("the payload"))?;
        let args: Vec<&str> =
            std::iter::once("/payload").chain(words.iter().map(String::as_str)).collect();
        let config = serde_json::json!({
            "ociVersion": "1.0.0",
            "process": {
                "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": args, "cwd": "/",
                "rlimits": [],
            },
            "root": { "path": "rootfs" },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": {
                "resources": {},
                "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }],
            },
        });
        fs::write(place.join("config.json"), config.to_string()).map_err(Problem::io("the bundle"))
    }

    /// The arguments that keep a real runtime's state with us.
    pub fn runtime_root(&self) -> String {
        self.tmpfs.join("root").display().to_string()
    }

    /// Calls the real runtime.
    pub fn call_runtime(&self, words: &[&str]) -> Result<(), Problem> {
        let out = Command::new(&self.runtime)
            .args(["--root", &self.runtime_root()])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(Problem::io(self.runtime.display()))?;
        let said = String::from_utf8_lossy(&out.stderr);
        if out.status.success() { Ok(()) } else { Err(Problem::new(said.trim().to_owned())) }
    }

    fn try_runtime(&mut self) -> Result<(), Problem> {
        let given = self.runtime.clone();
        let search = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&search).map(|dir| dir.join(&given));
        let found = places.find(|path| path.is_file());
        self.runtime = found.ok_or_else(|| Problem::new(format!("no {}", given.display())))?;
        let place = self.place()?;
        self.bundle(&place, &["exit".into(), "0".into()])?;
        let bundle = place.display().to_string();
        self.call_runtime(&["run", "--bundle", &bundle, "conmon-bench-trial"])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for directory in [&self.tmpfs, &self.disk] {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// Where run `number` has its files: in memory and on a disk.
pub fn directories(number: u32, options: &Options) -> [PathBuf; 2] {
    let name = |role| format!("conmon-bench-{number}{role}");
    [options.tmpfs.join(name('m')), options.disk.join(name('d'))]
}

/// Makes room for a journal of our own. The worker's mounts are its own, so nobody else on the host sees it; who is not root has none
/// and may not mount.
fn hide_journal() -> Result<(), Problem> {
    let none: Option<&str> = None;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)
        .map_err(Problem::io("a file system for /run"))?;
    let journal = Path::new(super::journal::SOCKET).parent().unwrap_or(Path::new("/run"));
    fs::create_dir_all(journal).map_err(Problem::io(journal.display()))
}
