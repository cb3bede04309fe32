//! The record of the container's exit: exit files and the exit command.

use std::ffi::CString;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid};

use crate::atomic_file::try_to_write;
use crate::config::{Config, ExitCommand};
use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::oom_score::OomScore;
use crate::sys;
use crate::sys::pages::Pages;

/// How long each exit file is tried to be written. The callers give the whole record 5 s.
const FILE_PATIENCE: Duration = Duration::from_millis(500);

/// How often it is tried at least: on a machine that is busy enough, or whose disk is slow to
/// refuse, the time is over after one or two tries. The pauses between them add up to 127 ms.
const FILE_TRIES: u32 = 8;

/// Between two tries of what the record needs, at first and at most.
pub(crate) const PAUSES: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_millis(100));

/// What the record needs, held from the start so that nobody else can have taken all of it: a
/// descriptor and some room for memory.
pub(crate) struct Reserve {
    file: Option<OwnedFd>,
    memory: Option<Pages>,
}

/// Not one page of it is in memory before it is given back.
const RESERVED_BYTES: NonZeroUsize = NonZeroUsize::new(256 * 1024).unwrap();

impl Reserve {
    /// Holds `file`, which is any, and memory if there is some.
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self { file: Some(file), memory: Pages::new(RESERVED_BYTES).ok() }
    }

    /// The container has ended: from now on the memory is there to be used.
    pub(crate) fn free_memory(&mut self) {
        self.memory = None;
    }

    /// Lets `work` have the descriptor, which is then held again.
    pub(crate) fn lend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.file = None;
        let done = work();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        self.file = open("/dev/null", flags, Mode::empty()).ok();
        done
    }

    fn give_back(&mut self) {
        (self.file, self.memory) = (None, None);
    }
}

/// Writes the exit code to `<persist-dir>/exit`, then to `<exit-dir>/<cid>`.
///
/// The second is what wakes callers, which then read the first. Both are tried whatever
/// becomes of the other, and tried again for a while when the system is short of what they
/// need; `relieve` then gives back what the monitor can do without. Returns whether both
/// succeeded; each failure is said.
pub(crate) fn write_exit_files(
    config: &Config,
    code: i32,
    reserve: &mut Reserve,
    mut relieve: impl FnMut(),
    diag: &Diagnostics,
) -> bool {
    reserve.give_back();
    let persist = config.persist_dir.as_ref().map(|dir| (dir.join("exit"), "container exit file"));
    let exit = config.exit_dir.as_ref().map(|dir| (child_path(dir, &config.cid), "exit file"));
    let text = code.to_string();
    let mut complete = true;
    for (path, what) in [persist, exit].into_iter().flatten() {
        if let Err(failure) = write_patiently(&path, text.as_bytes(), &mut relieve) {
            let intro = format!("Failed to write {text} to {what}: ");
            diag.failure(&Failure::new(concat(&[intro.as_bytes(), &failure.sentence()])));
            complete = false;
        }
    }
    complete
}

/// The first try comes at once, the second as soon as `relieve` is done.
fn write_patiently(path: &Path, text: &[u8], relieve: &mut impl FnMut()) -> Result<(), Failure> {
    let end = sys::time::monotonic() + FILE_PATIENCE;
    let mut pause = PAUSES.0;
    let mut tries = 0;
    loop {
        tries += 1;
        match try_to_write(path, text) {
            Ok(()) => return Ok(()),
            Err(refused)
                if refused.may_pass() && (tries < FILE_TRIES || sys::time::monotonic() < end) =>
            {
                relieve();
                sys::time::sleep(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
            Err(refused) => return Err(refused.failure()),
        }
    }
}

/// `<dir>/<name>` even when `name` is absolute or empty, as plain concatenation makes it. An
/// empty directory is the working directory.
fn child_path(dir: &Path, name: &std::ffi::OsStr) -> PathBuf {
    if dir.as_os_str().is_empty() {
        return PathBuf::from(name);
    }
    let joined = concat(&[dir.as_os_str().as_bytes(), b"/", name.as_bytes()]);
    PathBuf::from(std::ffi::OsString::from_vec(joined))
}

/// Starts the exit command.
///
/// The monitor's own signals no longer matter by then: the container is gone.
///
/// # Errors
///
/// Those of fork(2).
pub(crate) fn start_exit_command(command: &ExitCommand, oom_score: &OomScore) -> nix::Result<Pid> {
    match sys::process::fork()? {
        ForkResult::Child => become_exit_command(command, oom_score),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// The signals that the exit command finds at their defaults: those the monitor has changed,
/// and those it would pass on, which a shell ignores for what it runs in the background.
const ORDINARY: [Signal; 5] =
    [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

fn become_exit_command(command: &ExitCommand, oom_score: &OomScore) -> ! {
    oom_score.restore();
    // An ordinary program expects ordinary signals.
    for signal in ORDINARY {
        let _ = sys::process::reset_signal(signal);
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let path = CString::new(command.path.as_os_str().as_bytes());
    let arguments = command.args.iter().map(|argument| CString::new(argument.as_bytes()));
    if let (Ok(path), Ok(arguments)) = (path, arguments.collect::<Result<Vec<_>, _>>()) {
        let argv: Vec<CString> = std::iter::once(path.clone()).chain(arguments).collect();
        sys::process::exec(&path, &argv);
    }
    sys::process::leave(1)
}
