//! A monitor's life in the order its callers know: command line, start pipe, background,
//! sockets, runtime, monitoring, record.
//!
//! The steps are not inlined: their frames would make up the stack of a monitor that waits.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{pipe2, unlink};

use crate::attach::{AtLastLeave, Attach, ContainerStdin};
use crate::cli::{self, Outcome};
use crate::config::{Api, Config, Operation, Refusal};
use crate::control::{ControlFifo, Kind};
use crate::diagnostics::{Diagnostics, Level, write_stderr};
use crate::exit::Reserve;
use crate::failure::Failure;
use crate::launch::{self, ATTACH_PIPE, Inherited, Null, START_PIPE, SYNC_PIPE, Side};
use crate::log::Log;
use crate::monitor::{Monitor, Phase, Terminal, Work};
use crate::notify::NotifyProxy;
use crate::oom_score::OomScore;
use crate::runtime::argv;
use crate::runtime::spawn::{Spawn, Stdio, spawn};
use crate::signals::{Signals, hold_hangups};
use crate::stdio::console::ConsoleSocket;
use crate::stdio::output::Output;
use crate::stream::Stream;
use crate::sync_pipe::{Key, SyncPipe};
use crate::sys;
use crate::sys::entry::Arguments;

/// Runs the program; returns its exit status.
pub(crate) fn run(arguments: Arguments) -> u8 {
    if sys::fd::open_standard().is_err() {
        return 1;
    }
    let mut inherited = Inherited::new(sys::fd::adopt_open_at_start());
    umask(Mode::from_bits_truncate(0o022));
    let parsed = match cli::parse(arguments.iter()) {
        Outcome::Run(options) => Ok(options),
        // A reader who has gone ends the program, as in the reference.
        Outcome::Print(text) => return print(&text),
        Outcome::Refuse(text) => Err(text),
    };
    if sys::process::ignore_sigpipe().is_err() {
        return 1;
    }
    let options = match parsed {
        Ok(options) => options,
        Err(text) => return refuse_usage(&text, guess_key(arguments), &mut inherited),
    };
    let diag = crate::config::diagnostics(&options);
    let key = Key::of(Api::given(options.api_version), options.exec);
    let config = match Config::from_options(*options, &crate::config::System) {
        Ok(config) => config,
        Err(Refusal::Plain(text)) => return refuse_usage(&text, key, &mut inherited),
        Err(Refusal::Diagnosed(failure)) => {
            diag.failure(&failure);
            return report_usage(&failure.report(), key, &mut inherited);
        }
    };
    match prepare(&config, &diag, &mut inherited) {
        Ok(None) => 0,
        Ok(Some(ready)) => monitor(&config, &diag, inherited, ready),
        Err(failure) => {
            diag.failure(&failure);
            let key = Key::of(config.api, config.is_exec());
            // A broken variable is what may have failed; there is then nobody to tell.
            if let Ok(sync) = inherited.take_pipe(SYNC_PIPE) {
                let _ = SyncPipe::new(sync, key).report(-1, &failure.report());
            }
            1
        }
    }
}

/// How long an attach client without a terminal may refuse output before it is cut off.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);

fn print(text: &[u8]) -> u8 {
    // Nobody can be told that stdout cannot be written to; the status stays the same. The standard
    // library's stdout, a buffer behind a lock, is more code than all of this.
    let _ = sys::fd::duplicate_stdio(1).and_then(|stdout| sys::fd::write_all(stdout, text));
    0
}

/// Refuses a command line that cannot be understood.
#[inline(never)]
fn refuse_usage(text: &[u8], key: Key, inherited: &mut Inherited) -> u8 {
    write_stderr(text);
    report_usage(text.trim_ascii_end(), key, inherited)
}

/// Tells the caller what is wrong with the command line: with a terminal it may have nobody
/// reading stderr.
#[inline(never)]
fn report_usage(text: &[u8], key: Key, inherited: &mut Inherited) -> u8 {
    if let Ok(sync) = inherited.take_pipe(SYNC_PIPE) {
        let _ = SyncPipe::new(sync, key).report(-1, text);
    }
    1
}

/// Which word a caller expects whose command line cannot be read.
fn guess_key(arguments: Arguments) -> Key {
    let given = |options: &[&str]| arguments.iter().any(|arg| options.iter().any(|o| arg == *o));
    Key::of(Api::given(given(&["--api-version"])), given(&["-e", "--exec"]))
}

/// What the monitor's process has when it comes into being.
struct Ready {
    log: Log,
    oom_score: OomScore,
    /// Still open only if a second byte is to come.
    start_pipe: Option<OwnedFd>,
    null: Null,
    /// As the process was started with it.
    signal_mask: SigSet,
}

/// Everything up to the fork; `None` on the side of the process the caller started.
#[inline(never)]
fn prepare(
    config: &Config,
    diag: &Diagnostics,
    inherited: &mut Inherited,
) -> Result<Option<Ready>, Failure> {
    let log = Log::open(&config.log, &config.cid, diag)?;
    let oom_score = OomScore::lower(diag);
    let signals_failed = |errno| Failure::with_errno("Failed to set up signals", errno);
    // An ignored SIGCHLD, as a caller may hand it down, would make statuses vanish.
    sys::process::reset_signal(Signal::SIGCHLD).map_err(signals_failed)?;
    sys::process::leave_on_sigterm().map_err(signals_failed)?;
    let start_pipe = wait_for_start(config, inherited)?;
    let null = Null::open()?;
    let signal_mask = hold_hangups()?;
    if !config.sync {
        let side = launch::go_to_background(config.conmon_pidfile.as_deref())?;
        if matches!(side, Side::Caller) {
            return Ok(None);
        }
    }
    Ok(Some(Ready { log, oom_score, start_pipe, null, signal_mask }))
}

/// Waits for the caller's first byte; returns the pipe if a second one is to come.
fn wait_for_start(config: &Config, inherited: &mut Inherited) -> Result<Option<OwnedFd>, Failure> {
    // An empty or zero variable names stdin, which is not a start pipe.
    if launch::names_stdin(START_PIPE) {
        return Ok(None);
    }
    let Some(pipe) = inherited.take_pipe(START_PIPE)? else { return Ok(None) };
    launch::read_start_pipe(pipe.as_fd())?;
    let second = matches!(config.operation, Operation::Exec { attach: true, .. });
    Ok(second.then_some(pipe))
}

/// The pipes to the caller.
struct CallerPipes {
    sync: SyncPipe,
    attach: Option<SyncPipe>,
}

impl CallerPipes {
    fn none() -> Self {
        Self { sync: SyncPipe::new(None, Key::Pid), attach: None }
    }

    /// Takes what the environment names. What was taken before a failure stays, to tell it.
    fn adopt(&mut self, config: &Config, inherited: &mut Inherited) -> Result<(), Failure> {
        let key = Key::of(config.api, config.is_exec());
        self.sync = SyncPipe::new(inherited.take_pipe(SYNC_PIPE)?, key);
        if let Operation::Exec { attach: true, .. } = config.operation {
            let pipe = inherited.take_pipe(ATTACH_PIPE)?.ok_or_else(|| {
                Failure::new(format!("--attach specified but {ATTACH_PIPE} was not"))
            })?;
            self.attach = Some(SyncPipe::new(Some(pipe), Key::Data));
        }
        Ok(())
    }
}

/// The monitor's process from its beginning to its end.
#[inline(never)]
fn monitor(config: &Config, diag: &Diagnostics, mut inherited: Inherited, ready: Ready) -> u8 {
    let notify = create_notify(config, diag);
    let mut pipes = CallerPipes::none();
    let adopted = pipes.adopt(config, &mut inherited);
    let notify = notify.and_then(|notify| adopted.map(|()| notify));
    match notify.and_then(|notify| start(config, diag, inherited, ready, notify, &mut pipes)) {
        Err(failure) => {
            diag.failure(&failure);
            let report = failure.report();
            // A caller waiting for the attach socket reads that pipe first.
            for pipe in pipes.attach.iter_mut().chain([&mut pipes.sync]) {
                let _ = pipe.report(-1, &report);
            }
            1
        }
        Ok(mut monitor) => {
            monitor.sync = pipes.sync;
            monitor.attach_pipe = pipes.attach;
            match monitor.run() {
                Ok(()) => monitor.finish(),
                Err(failed) => monitor.give_up(&failed),
            }
        }
    }
}

fn create_notify(config: &Config, diag: &Diagnostics) -> Result<Option<NotifyProxy>, Failure> {
    match (&config.sdnotify_socket, &config.bundle) {
        (Some(host), Some(bundle)) => NotifyProxy::create(bundle, host, diag).map(Some),
        _ => Ok(None),
    }
}

/// From the background to a running runtime.
///
/// # Errors
///
/// There is no runtime, and nothing is left in the file system.
#[inline(never)]
fn start<'a>(
    config: &'a Config,
    diag: &'a Diagnostics,
    mut inherited: Inherited,
    ready: Ready,
    notify: Option<NotifyProxy>,
    pipes: &mut CallerPipes,
) -> Result<Box<Monitor<'a>>, Failure> {
    if !config.log.passthrough {
        ready.null.replace_stdio()?;
        diag.leave_stderr();
    }
    // A process that was forked to the background has no children yet.
    let strangers = if config.sync { sys::process::children() } else { Vec::new() };
    launch::become_subreaper()?;
    let ends = Ends::create(config)?;
    let argv = argv::build(config, ends.console.as_ref().map(ConsoleSocket::path));
    trace_call(diag, &argv);
    let mut sockets = Sockets::create(config, diag)?;
    match spawn_runtime(config, &argv, &ready, &ends, pipes, &sockets) {
        Err(failure) => {
            sockets.remove(diag);
            Err(failure)
        }
        Ok((runtime, signals)) => {
            if config.log.passthrough {
                ready.null.replace_stdio()?;
                diag.leave_stderr();
            }
            // A caller sees the end of its start pipe when the container has ended.
            ready.start_pipe.into_iter().for_each(|pipe| inherited.keep(pipe));
            Ok(Box::new(Monitor {
                config,
                diag,
                signals,
                sync: SyncPipe::new(None, Key::Pid),
                attach_pipe: None,
                inherited,
                strangers,
                oom_score: ready.oom_score,
                log: ready.log,
                attach: sockets.attach,
                stdin: ends.stdin,
                control: sockets.control,
                winsz: sockets.winsz,
                notify,
                console: ends.console,
                terminal: Terminal::default(),
                stdout: ends.stdout,
                stderr: ends.stderr,
                phase: Phase::creating(runtime),
                reserve: Reserve::new(ready.null.reader),
                work: Work::new(),
            }))
        }
    }
}

/// The container's standard streams: our ends of them and the runtime's.
struct Ends {
    stdin: ContainerStdin,
    stdout: Option<Output>,
    stderr: Option<Output>,
    console: Option<ConsoleSocket>,
    runtime_stdin: Option<OwnedFd>,
    runtime_stdout: Option<OwnedFd>,
    runtime_stderr: Option<OwnedFd>,
}

impl Ends {
    fn create(config: &Config) -> Result<Self, Failure> {
        let mut ends = Self {
            stdin: ContainerStdin::none(),
            stdout: None,
            stderr: None,
            console: None,
            runtime_stdin: None,
            runtime_stdout: None,
            runtime_stderr: None,
        };
        let at_last_leave = match (config.stdin, config.leave_stdin_open) {
            (true, false) => AtLastLeave::Close,
            (true, true) => AtLastLeave::KeepAndSay,
            (false, _) => AtLastLeave::Keep,
        };
        if config.terminal {
            ends.console = Some(ConsoleSocket::create(&temporary_directory())?);
            ends.stdin = ContainerStdin::awaiting_console(at_last_leave);
        }
        // With passthrough the runtime keeps the caller's streams.
        if config.log.passthrough {
            return Ok(ends);
        }
        if !config.terminal {
            if config.stdin {
                let (read, write) = pipe("Failed to create !terminal stdin pipe")?;
                ends.runtime_stdin = Some(read);
                ends.stdin = ContainerStdin::pipe(write, at_last_leave);
            }
            let failed = "Failed to create !terminal stdout pipe";
            let (read, write) = pipe(failed)?;
            let output = Output::pipe(read, Stream::Stdout);
            ends.stdout = Some(output.map_err(|errno| Failure::with_errno(failed, errno))?);
            ends.runtime_stdout = Some(write);
        }
        let failed = "Failed to create stderr pipe";
        let (read, write) = pipe(failed)?;
        let output = Output::pipe(read, Stream::Stderr);
        ends.stderr = Some(output.map_err(|errno| Failure::with_errno(failed, errno))?);
        ends.runtime_stderr = Some(write);
        Ok(ends)
    }
}

fn pipe(failed: &'static str) -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe2(OFlag::O_CLOEXEC).map_err(|errno| Failure::with_errno(failed, errno))
}

/// Where the console socket goes: `TMPDIR`, else /tmp.
fn temporary_directory() -> PathBuf {
    let set = std::env::var_os("TMPDIR").filter(|value| !value.is_empty());
    set.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// What attach clients and callers reach the monitor by.
#[derive(Default)]
struct Sockets {
    attach: Option<Attach>,
    control: Option<ControlFifo>,
    winsz: Option<ControlFifo>,
}

impl Sockets {
    /// Creates them in the bundle, if there is one and the container's output passes here.
    fn create(config: &Config, diag: &Diagnostics) -> Result<Self, Failure> {
        let mut sockets = Self::default();
        let Some(bundle) = config.bundle.as_deref().filter(|_| !config.log.passthrough) else {
            return Ok(sockets);
        };
        let stall = stall_timeout(config.terminal, std::env::var_os(STALL_VARIABLE).as_deref());
        let cuuid = config.cuuid.as_deref();
        let attach = Attach::create(&config.attach_place, cuuid, bundle, stall, diag)?;
        sockets.attach = Some(attach);
        match sockets.create_fifos(bundle, diag) {
            Ok(()) => Ok(sockets),
            Err(failure) => {
                sockets.remove(diag);
                Err(failure)
            }
        }
    }

    fn create_fifos(&mut self, bundle: &Path, diag: &Diagnostics) -> Result<(), Failure> {
        let path = bundle.join("ctl");
        let control = ControlFifo::create(&path, Kind::Control, diag)?;
        let winsz = ControlFifo::create(&bundle.join("winsz"), Kind::WindowSize, diag)
            .inspect_err(|_| {
                let _ = unlink(&path);
            })?;
        (self.control, self.winsz) = (Some(control), Some(winsz));
        Ok(())
    }

    /// Removes the attach socket's names.
    fn remove(&mut self, diag: &Diagnostics) {
        if let Some(attach) = &mut self.attach {
            attach.unlink_socket(diag);
            attach.unlink_symlink();
        }
    }
}

const STALL_VARIABLE: &str = "CONMON_ATTACH_STALL_TIMEOUT";

/// How long an attach client may refuse output: `value` seconds, 0 meaning for ever.
///
/// A terminal's client may stop for as long as its user likes.
fn stall_timeout(terminal: bool, value: Option<&OsStr>) -> Option<Duration> {
    if terminal {
        return None;
    }
    let seconds = value.and_then(OsStr::to_str).and_then(|text| text.parse().ok());
    let timeout = seconds.map_or(STALL_TIMEOUT, Duration::from_secs);
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

/// Says how the runtime will be called, before the sockets are made, as newest does.
fn trace_call(diag: &Diagnostics, argv: &[OsString]) {
    if diag.enabled(Level::Trace) {
        let mut text = b"calling runtime args: ".to_vec();
        for argument in argv {
            text.extend_from_slice(argument.as_bytes());
            text.push(b' ');
        }
        diag.trace(text);
    }
}

/// Tells a waiting caller that the attach socket is there, then starts the runtime.
fn spawn_runtime(
    config: &Config,
    argv: &[OsString],
    ready: &Ready,
    ends: &Ends,
    pipes: &mut CallerPipes,
    sockets: &Sockets,
) -> Result<(nix::unistd::Pid, Signals), Failure> {
    if let (Some(_), Some(pipe)) = (&sockets.attach, &mut pipes.attach) {
        pipe.report(0, b"")?;
    }
    let signals = Signals::block(ready.signal_mask)?;
    let runtime = spawn(&Spawn {
        argv,
        stdio: ends.runtime_stderr.as_ref().map(|stderr| Stdio {
            stdin: ends.runtime_stdin.as_ref(),
            stdout: ends.runtime_stdout.as_ref(),
            stderr,
            null: &ready.null,
        }),
        second_start_byte: ready.start_pipe.as_ref().map(AsFd::as_fd),
        signal_mask: signals.original_mask(),
        oom_score: &ready.oom_score,
        replace_listen_pid: config.replace_listen_pid,
    })
    .map_err(|errno| Failure::with_errno("Failed to fork the create command", errno))?;
    Ok((runtime, signals))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::default(false, None, Some(300))]
    #[case::chosen(false, Some("5"), Some(5))]
    #[case::never(false, Some("0"), None)]
    #[case::nonsense(false, Some("soon"), Some(300))]
    #[case::terminal(true, None, None)]
    #[case::terminal_all_the_same(true, Some("5"), None)]
    fn a_client_may_stall_for(
        #[case] terminal: bool,
        #[case] value: Option<&str>,
        #[case] seconds: Option<u64>,
    ) {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(stall_timeout(terminal, value.map(OsStr::new)), expected);
    }
}
