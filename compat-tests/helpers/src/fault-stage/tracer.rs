//! Counts the monitor's system calls and lets one of them fail, with ptrace(2).
//!
//! A call that fails is not carried out: its number is replaced by one that does not exist, and
//! at its end the result by the errno. Counting begins when the dynamic linker has done its
//! work, at the program's entry point; a process that executes a program is let go.

use std::collections::HashMap;
use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::calls;
use crate::outcome::{Call, Fault, Role};

/// The instruction of a breakpoint, and the bytes of a word it takes.
const BREAKPOINT: i64 = 0xcc;
const BREAKPOINT_MASK: i64 = 0xff;
const AT_ENTRY: u64 = 9;
/// Told of each call in the outcome up to this many; a monitor that spins makes millions.
const CALLS_KEPT: usize = 20_000;

/// What the tracer knows, shared with the player.
#[derive(Debug, Default)]
pub struct State {
    pub calls: Vec<Call>,
    pub call_count: u64,
    pub cpu_ms: u64,
    pub reached: bool,
    pub monitor: Option<i32>,
    pub launched_status: Option<i32>,
    pub monitor_status: Option<i32>,
    /// Every process that is traced and runs.
    pub alive: Vec<i32>,
}

struct Tracee {
    role: Role,
    /// The result that the call it is in is to have.
    errno: Option<i32>,
    /// The word at the entry point, while there is a breakpoint.
    entry: Option<(u64, i64)>,
    started: bool,
}

pub struct Tracer<'a> {
    launched: Pid,
    fault: Option<Fault>,
    state: &'a Arc<Mutex<State>>,
    tracees: HashMap<i32, Tracee>,
    /// Stopped before their birth was reported.
    newborn: Vec<i32>,
    counts: HashMap<(Role, &'static str), u32>,
}

/// Keeps SIGCHLD for [`Tracer::run`]; to be called before the first thread.
pub fn hold_child_signals() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().map_err(Error::from)
}

impl<'a> Tracer<'a> {
    pub fn new(
        launched: Pid,
        keeps_process: bool,
        fault: Option<Fault>,
        state: &'a Arc<Mutex<State>>,
    ) -> Self {
        let (tracees, counts) = (HashMap::new(), HashMap::new());
        let newborn = Vec::new();
        let mut tracer = Self { launched, fault, state, tracees, newborn, counts };
        tracer.add(launched, if keeps_process { Role::Monitor } else { Role::Launched });
        tracer
    }

    fn state(&self) -> MutexGuard<'a, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Traces until the player has finished.
    pub fn run(mut self, is_finished: impl Fn() -> bool) -> Result<()> {
        loop {
            while let Some((status, cpu)) = next_change()? {
                match self.handle(status, cpu) {
                    // It was killed meanwhile; its end is reported next.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    result => result?,
                }
            }
            if is_finished() {
                return Ok(());
            }
            await_child_signal(Duration::from_millis(10));
        }
    }

    fn add(&mut self, pid: Pid, role: Role) {
        let tracee = Tracee { role, errno: None, entry: None, started: false };
        self.tracees.insert(pid.as_raw(), tracee);
        let mut state = self.state();
        state.alive.push(pid.as_raw());
        if role == Role::Monitor {
            state.monitor = Some(pid.as_raw());
        }
    }

    fn ended(&mut self, pid: Pid, status: i32, cpu_ms: u64) {
        let Some(tracee) = self.tracees.remove(&pid.as_raw()) else { return };
        let mut state = self.state();
        state.alive.retain(|alive| *alive != pid.as_raw());
        if pid == self.launched {
            state.launched_status = Some(status);
        }
        if tracee.role == Role::Monitor && state.monitor == Some(pid.as_raw()) {
            state.monitor_status = Some(status);
            state.cpu_ms = cpu_ms;
        }
    }

    fn handle(&mut self, status: WaitStatus, cpu_ms: u64) -> Result<()> {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, code, cpu_ms),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32, cpu_ms),
            WaitStatus::PtraceSyscall(pid) => {
                self.system_call(pid)?;
                ptrace::syscall(pid, None)?;
            }
            WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event)?,
            WaitStatus::Stopped(pid, signal) => self.stopped(pid, signal)?,
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, pid: Pid, event: i32) -> Result<()> {
        match event {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child =
                    Pid::from_raw(i32::try_from(ptrace::getevent(pid)?).map_err(Error::other)?);
                let parent = self.tracees.get(&pid.as_raw()).map(|tracee| tracee.role);
                let is_thread = event == libc::PTRACE_EVENT_CLONE;
                let first = self.state().monitor.is_none();
                let role = match parent {
                    Some(role) if is_thread => role,
                    Some(Role::Launched) if first => Role::Monitor,
                    _ => Role::Child,
                };
                if !is_thread {
                    self.add(child, role);
                } else {
                    let tracee = Tracee { role, errno: None, entry: None, started: false };
                    self.tracees.insert(child.as_raw(), tracee);
                }
                if let Some(tracee) = self.tracees.get_mut(&child.as_raw()) {
                    tracee.started = true;
                }
                if let Some(at) = self.newborn.iter().position(|pid| *pid == child.as_raw()) {
                    self.newborn.swap_remove(at);
                    ptrace::syscall(child, None)?;
                }
                ptrace::syscall(pid, None)?;
            }
            libc::PTRACE_EVENT_EXEC => {
                self.tracees.remove(&pid.as_raw());
                self.state().alive.retain(|alive| *alive != pid.as_raw());
                ptrace::detach(pid, None)?;
            }
            _ => ptrace::syscall(pid, None)?,
        }
        Ok(())
    }

    fn stopped(&mut self, pid: Pid, signal: Signal) -> Result<()> {
        let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) else {
            self.newborn.push(pid.as_raw());
            return Ok(());
        };
        if pid == self.launched && !tracee.started {
            if let Some((address, word)) = tracee.entry.take() {
                // At the breakpoint: from here on it is the monitor's own work.
                ptrace::write(pid, address as ptrace::AddressType, word)?;
                let mut registers = ptrace::getregs(pid)?;
                registers.rip = address;
                ptrace::setregs(pid, registers)?;
                tracee.started = true;
                ptrace::syscall(pid, None)?;
                return Ok(());
            }
            use ptrace::Options;
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_EXITKILL;
            ptrace::setoptions(pid, options)?;
            let address = entry_point(pid)?;
            let word = ptrace::read(pid, address as ptrace::AddressType)?;
            let broken = (word & !BREAKPOINT_MASK) | BREAKPOINT;
            ptrace::write(pid, address as ptrace::AddressType, broken)?;
            tracee.entry = Some((address, word));
            ptrace::cont(pid, None)?;
            return Ok(());
        }
        // The stop that every new tracee begins with is ours; all other signals are its own.
        let signal = (signal != Signal::SIGSTOP).then_some(signal);
        ptrace::syscall(pid, signal)?;
        Ok(())
    }

    fn system_call(&mut self, pid: Pid) -> Result<()> {
        let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) else { return Ok(()) };
        let role = tracee.role;
        let info = ptrace::syscall_info(pid)?;
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            if let Some(errno) = tracee.errno.take() {
                let mut registers = ptrace::getregs(pid)?;
                registers.rax = i64::from(-errno) as u64;
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        // SAFETY: the kernel fills in this part of the union at a system call's entry.
        let entry = unsafe { info.u.entry };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.call_count += u64::from(role == Role::Monitor);
        let Some(known) = calls::known(entry.nr as i64) else { return Ok(()) };
        let position = self.counts.entry((role, known.name)).or_default();
        *position += 1;
        let position = *position;
        let detail = calls::detail(known.name, entry.args);
        let fails = self.fault.as_ref().filter(|fault| {
            let call = &fault.call;
            call.role == role
                && call.name == known.name
                && (position == call.position || fault.for_ever && position > call.position)
                // A fault of one kind of call leaves the others alone.
                && call.detail == detail
        });
        if let Some(fault) = fails {
            state.reached = true;
            tracee.errno = Some(fault.errno);
            if !known.executes {
                let mut registers = ptrace::getregs(pid)?;
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers)?;
            }
        }
        if state.calls.len() < CALLS_KEPT {
            let (name, detail) = (known.name.to_owned(), detail.to_owned());
            state.calls.push(Call { role, name, position, detail });
        }
        Ok(())
    }
}

/// Where the program begins when the dynamic linker is done, from its auxiliary vector.
fn entry_point(pid: Pid) -> Result<u64> {
    let vector = std::fs::read(format!("/proc/{pid}/auxv"))?;
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    let entry = vector.chunks_exact(16).find(|pair| word(pair) == AT_ENTRY);
    entry.map(|pair| word(&pair[8..])).ok_or_else(|| Error::other("no entry point"))
}

/// The next change of state of a child or tracee of this thread, and the CPU time it has used.
fn next_change() -> Result<Option<(WaitStatus, u64)>> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let flags = libc::__WALL | libc::WNOHANG;
    // SAFETY: both pointers are valid for the call.
    let pid = unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut usage) };
    match Errno::result(pid) {
        Ok(0) | Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
        Ok(pid) => {
            let time = |value: libc::timeval| value.tv_sec * 1000 + value.tv_usec / 1000;
            let cpu = time(usage.ru_utime) + time(usage.ru_stime);
            let status = WaitStatus::from_raw(Pid::from_raw(pid), status)?;
            Ok(Some((status, u64::try_from(cpu).unwrap_or_default())))
        }
    }
}

fn await_child_signal(longest: Duration) {
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
    // SAFETY: a sigset_t of zeros is valid to be emptied; all pointers are valid for the calls.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGCHLD);
        libc::sigtimedwait(&raw const signals, std::ptr::null_mut(), &raw const timeout);
    }
}
