//! One test's directories, scripts and processes.

use crate::facts::{await_fact, processes};
use crate::peer::Peer;
use crate::running::Running;
use crate::skip::skipped;
use crate::subject::{Subject, helper};
use crate::sys::{self, Inheritance};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;
use tempfile::TempDir;

/// The container's id, long enough for every log driver.
pub const CID: &str = "0123456789abcdef";
/// Marks every process that comes from a test, with the test's directory as value.
const MARK: &str = "CONMON_BLACK_BOX";
/// The lowest descriptor number given to a monitor.
const FIRST_FD: i32 = 200;

/// A directory of one's own; what was started in it is gone when this is dropped.
pub struct World {
    directory: TempDir,
    subject: Subject,
}

impl World {
    pub fn new(subject: Subject) -> Self {
        let directory = TempDir::with_prefix("bb-").unwrap();
        let world = Self { directory, subject };
        for name in ["bundle", "exits", "persist", "sockets", "tmp"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        symlink(helper("standin-runtime"), world.path("rt")).unwrap();
        world
    }

    /// A world for a row that states what the reference does, which is true of 2.1.6 only.
    pub fn as_in_2_1_6(subject: Subject) -> Option<Self> {
        if !subject.fits_2_1_6() {
            skipped("the reference is not 2.1.6");
            return None;
        }
        Some(Self::new(subject))
    }

    /// A path in the world's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Sets the container's program to the payload with these verbs.
    pub fn container(&self, verbs: &[&str]) {
        self.script(verbs, &[]);
    }

    /// Sets the payload's verbs and the runtime's steps; none means the usual ones.
    pub fn script(&self, verbs: &[&str], steps: &[&[&str]]) {
        self.write_script(&Self::table(verbs, steps));
    }

    pub fn write_script(&self, text: &str) {
        fs::write(self.path("rt.script.toml"), text).unwrap();
    }

    /// The lines of a script's table.
    pub fn table(verbs: &[&str], steps: &[&[&str]]) -> String {
        let payload = helper("payload");
        // JSON's arrays of strings are TOML's, but for one escape.
        let array = |value: Value| value.to_string().replace("\\/", "/");
        let container: Vec<&str> = [payload.as_str()].iter().chain(verbs).copied().collect();
        let mut text = format!("container = {}\n", array(json!(container)));
        if !steps.is_empty() {
            text += &format!("steps = {}\n", array(json!(steps)));
        }
        text
    }

    /// Puts the recorder in front of the stand-in.
    pub fn record_runtime(&self) {
        fs::remove_file(self.path("rt")).unwrap();
        symlink(helper("recording-runtime"), self.path("rt")).unwrap();
        let real = helper("standin-runtime");
        let settings = json!({ "real": real, "record": self.path("calls") });
        fs::write(self.path("rt.json"), settings.to_string()).unwrap();
    }

    /// Waits for the first record in `directory` and reads it.
    #[track_caller]
    pub fn record(&self, directory: &str) -> Value {
        let path = self.path(directory);
        let bytes = await_fact(directory, || {
            let mut names: Vec<PathBuf> = fs::read_dir(&path)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "json"))
                .filter(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes()[0] != b'.'))
                .collect();
            names.sort();
            fs::read(names.first()?).ok()
        });
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The log without its timestamps. Not for what a terminal wrote: a line and its end are two
    /// writes to the kernel, between which the monitor may read and log the line in two records.
    pub fn log(&self) -> Vec<String> {
        let bytes = fs::read(self.path("log")).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        // Not lines(): that takes away a terminal's carriage returns.
        let lines = text.split_terminator('\n');
        lines.map(|line| line.split_once(' ').unwrap_or_default().1.to_owned()).collect()
    }

    /// What one stream wrote, put together again from the log.
    pub fn output(&self, stream: &str) -> String {
        let mut all = String::new();
        for line in self.log() {
            match line.strip_prefix(stream).and_then(|rest| rest.split_at_checked(3)) {
                Some((" F ", text)) => all.extend([text, "\n"]),
                Some((" P ", text)) => all.push_str(text),
                _ => {}
            }
        }
        all
    }

    /// A monitor for create, with the options Podman gives.
    pub fn create(&self) -> Monitor<'_> {
        self.create_legacy().with(&["--api-version"])
    }

    /// The same without an API version.
    pub fn create_legacy(&self) -> Monitor<'_> {
        let log = format!("k8s-file:{}", self.text("log"));
        self.bare()
            .with(&["-c", CID, "-u", CID, "-n", "name", "-r", &self.text("rt")])
            .with(&["-b", &self.text("bundle"), "-p", &self.text("pidfile"), "-l", &log])
            .with(&["--exit-dir", &self.text("exits"), "--persist-dir", &self.text("persist")])
            .with(&["-P", &self.text("conmon.pid"), "--full-attach"])
    }

    /// A monitor for exec.
    pub fn exec(&self) -> Monitor<'_> {
        let spec = self.text("process.json");
        fs::write(&spec, "{}").unwrap();
        self.create().with(&["--exec", "--exec-process-spec", &spec])
    }

    /// A monitor without any option.
    pub fn bare(&self) -> Monitor<'_> {
        Monitor {
            world: self,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: self.path("."),
            prelude: None,
            inheritance: Inheritance::default(),
            sync: None,
            start: None,
            attach: None,
        }
    }

    /// Writes to one of the bundle's FIFOs once the monitor has it open.
    #[track_caller]
    pub fn write_fifo(&self, name: &str, bytes: &[u8]) {
        let path = self.path("bundle").join(name);
        let mut fifo = await_fact("a reader of the FIFO", || {
            File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path).ok()
        });
        fifo.write_all(bytes).unwrap();
    }

    /// When `name` was last written.
    #[track_caller]
    pub fn written(&self, name: &str) -> SystemTime {
        fs::metadata(self.path(name)).unwrap().modified().unwrap()
    }

    /// The processes that come from this world.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.directory.path().display());
        let marked = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        processes().into_iter().filter(marked).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A monitor may start its exit command while we look, and a process has no environment for a moment of its exec: so look
        // until nobody is left, and then again.
        let mut empty = 0;
        for _ in 0..1000 {
            let left = self.processes();
            empty = if left.is_empty() { empty + 1 } else { 0 };
            if empty == 3 {
                return;
            }
            for pid in left {
                let _ = sys::kill(pid, libc::SIGKILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// A monitor to be started.
pub struct Monitor<'w> {
    world: &'w World,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    directory: PathBuf,
    prelude: Option<String>,
    inheritance: Inheritance,
    sync: Option<Peer>,
    start: Option<Peer>,
    attach: Option<Peer>,
}

impl<'w> Monitor<'w> {
    /// Adds arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Takes an option and its value away.
    #[track_caller]
    pub fn without(mut self, option: &str) -> Self {
        let at = self.arguments.iter().position(|word| word == option).expect(option);
        self.arguments.drain(at..at + 2);
        self
    }

    /// Takes an option without value away.
    #[track_caller]
    pub fn without_flag(mut self, flag: &str) -> Self {
        let at = self.arguments.iter().position(|word| word == flag).expect(flag);
        self.arguments.remove(at);
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub fn current_dir(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Sets `LISTEN_PID` to the pid of the launched process.
    pub fn listen_pid_of_itself(self) -> Self {
        self.after("export LISTEN_PID=$$")
    }

    /// Has standard input come from `path`.
    pub fn stdin_from(self, path: &Path) -> Self {
        self.after(&format!("exec < {}", path.display()))
    }

    /// Has a shell run `commands` before it becomes the monitor.
    pub fn after(mut self, commands: &str) -> Self {
        self.prelude = Some(commands.to_owned());
        self
    }

    /// The same, where mounts are seen by nobody else.
    fn after_mounting(self, commands: &str) -> Self {
        self.after(&format!(
            "[ -n \"$UNSHARED\" ] || UNSHARED=1 exec unshare -m sh -c \"$0\" \"$0\" \"$@\"; \
             {commands} || exit 125; unset UNSHARED"
        ))
    }

    /// Hides /proc from the monitor.
    pub fn without_proc(self) -> Self {
        self.after_mounting("mount -t tmpfs none /proc")
    }

    /// Has random numbers come from no device: what has its name is a socket, which cannot be opened.
    pub fn without_random_devices(self, socket: &Path) -> Self {
        let socket = socket.display();
        let hide = |device| format!("mount --bind {socket} /dev/{device}");
        self.after_mounting(&format!("{} && {}", hide("urandom"), hide("random")))
    }

    /// Has the journal's socket be `directory/socket` for the monitor alone.
    pub fn with_journal(self, directory: &Path) -> Self {
        let journal = "/run/systemd/journal";
        let place = format!("mount -t tmpfs none /run && mkdir -p {journal}");
        self.after_mounting(&format!("{place} && mount --bind {} {journal}", directory.display()))
    }

    /// Has the system log's socket be `socket` for the monitor alone.
    pub fn with_syslog(self, socket: &Path) -> Self {
        let tmp = self.world.path("tmp");
        let (tmp, socket) = (tmp.display(), socket.display());
        self.after_mounting(&format!(
            "mount -t tmpfs none {tmp} && cp -a /dev/null /dev/zero /dev/full /dev/urandom {tmp} \
             && ln -s {socket} {tmp}/log && mount --move {tmp} /dev"
        ))
    }

    /// Mounts a tmpfs of 256 KiB at `directory` for the monitor alone, half of it taken by a
    /// file `ballast`.
    pub fn on_small_disk(self, directory: &Path) -> Self {
        let disk = directory.display();
        let mount = format!("mount -t tmpfs -o size=256k small {disk}");
        let fill = format!("head -c 131072 /dev/zero > {disk}/ballast");
        self.after_mounting(&format!("{mount} && {fill}"))
    }

    pub fn umask(mut self, mask: u32) -> Self {
        self.inheritance.umask = Some(mask);
        self
    }

    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.inheritance.oom_score_adj = Some(score);
        self
    }

    /// Has the monitor start with these signals ignored.
    pub fn ignoring(mut self, signals: &[i32]) -> Self {
        self.inheritance.ignored = signals.to_vec();
        self
    }

    /// Gives the monitor one more descriptor; returns its number.
    pub fn inherit(&mut self, fd: OwnedFd) -> i32 {
        let number = FIRST_FD + i32::try_from(self.inheritance.fds.len()).unwrap();
        self.inheritance.fds.push((number, fd));
        number
    }

    fn pipe(&mut self, variable: &str) -> Peer {
        let (ours, theirs) = Peer::pair();
        let number = self.inherit(theirs);
        self.environment.push((variable.to_owned(), number.to_string().into()));
        ours
    }

    pub fn sync_pipe(mut self) -> Self {
        self.sync = Some(self.pipe("_OCI_SYNCPIPE"));
        self
    }

    pub fn start_pipe(mut self) -> Self {
        self.start = Some(self.pipe("_OCI_STARTPIPE"));
        self
    }

    pub fn attach_pipe(mut self) -> Self {
        self.attach = Some(self.pipe("_OCI_ATTACHPIPE"));
        self
    }

    /// Starts it with standard input from nowhere and its output into files.
    #[track_caller]
    pub fn start(self) -> Running<'w> {
        let world = self.world;
        let output = |name: &str| Stdio::from(File::create(world.path(name)).unwrap());
        let mut command = Command::new(world.subject.path());
        if let Some(prelude) = &self.prelude {
            let script = format!("{prelude}; exec \"$@\"");
            command = Command::new("/bin/sh");
            command.args(["-c", &script, &script]).arg(world.subject.path());
        }
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", world.path("tmp"))
            .env(MARK, world.directory.path())
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        sys::bequeath(&mut command, &self.inheritance);
        let child = command.spawn().unwrap();
        let synchronous = self.arguments.iter().any(|word| word == "--sync");
        Running::new(world, child, synchronous, [self.sync, self.start, self.attach])
    }
}
