//! Forking, leaving, and attributes of the process.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid};

/// fork(2).
///
/// The process has one thread, so the child may go on with ordinary code: no lock of the
/// allocator or of the standard library can be held by a thread that is gone.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: single-threaded, as said above; no thread is started anywhere in this program.
    unsafe { nix::unistd::fork() }
}

/// The stack of a child that `run_in_child` makes: as much as its work needs, and a guess more.
const WORK_STACK_BYTES: usize = 128 * 1024;

/// Does `work` in a child that has this process's memory, and leaves with what it returns; this
/// process goes on only when the child has ended or executed a program.
///
/// What a fork costs is spared: a copy of the page tables, and of each page that either side
/// touches afterwards. The child has its own descriptors, signal mask and signal handlers. `work`
/// must not wait for anything that this process does.
pub(crate) fn run_in_child(mut work: impl FnMut() -> libc::c_int) -> nix::Result<Pid> {
    extern "C" fn call<W: FnMut() -> libc::c_int>(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer is that of `work` below, which nobody else uses meanwhile.
        unsafe { (*work.cast::<W>())() }
    }
    fn entry<W: FnMut() -> libc::c_int>(_: &W) -> extern "C" fn(*mut libc::c_void) -> libc::c_int {
        call::<W>
    }
    let length = const { NonZeroUsize::new(WORK_STACK_BYTES).unwrap() };
    let mut stack = super::pages::Pages::new(length)?;
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: CLONE_VFORK has the kernel suspend this thread, the only one, until the child has
    // ended or executed a program, so that the child has the memory to itself; the stack and
    // `work` live longer than that. The child does not unwind: a panic aborts.
    let pid = unsafe { libc::clone(entry(&work), top.cast(), flags, (&raw mut work).cast()) };
    Errno::result(pid).map(Pid::from_raw)
}

/// The stack of the child that `sync_in_child` makes; it calls three small functions.
const SYNC_STACK_BYTES: usize = 16 * 1024;

/// Has a child call fsync(2) on `file`, the only one it holds; its exit status is the errno.
///
/// The child shares this process's memory, so making it costs a fifth of a fork. It may outlive
/// this process.
pub(crate) fn sync_in_child(file: BorrowedFd<'_>) -> nix::Result<Pid> {
    let length = const { NonZeroUsize::new(SYNC_STACK_BYTES).unwrap() };
    let mut stack = ManuallyDrop::new(super::pages::Pages::new(length)?);
    let top = stack.as_mut_ptr_range().end;
    let number: *mut libc::c_void =
        ptr::without_provenance_mut(file.as_raw_fd().unsigned_abs() as usize);
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone and never unmapped; `file` is open during the call
    // and the child's table of descriptors is a copy made by it. The child touches no memory
    // but its stack and, should a call fail, errno: all that can disturb is a wrong reason
    // in a message of this process.
    let pid = unsafe { libc::clone(sync_and_leave, top.cast(), flags, number) };
    Errno::result(pid).map(Pid::from_raw)
}

extern "C" fn sync_and_leave(number: *mut libc::c_void) -> libc::c_int {
    // SAFETY: plain numbers go in; the descriptors belong to this child, which uses no other.
    unsafe { libc::dup2(number.addr() as libc::c_int, 0) };
    // Clients must see their end, however slow the disk is.
    super::fd::close_all_but_stdio();
    // SAFETY: as above.
    let synced = unsafe { libc::fsync(0) };
    if synced == 0 { 0 } else { Errno::last_raw() }
}

/// Ends the process at once: no destructors, no exit handlers.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit does not return and touches none of our memory.
    unsafe { libc::_exit(code) }
}

/// Replaces the process by `path`, with the environment as it is. Returns only on failure.
pub(crate) fn exec(path: &CString, argv: &[CString]) -> nix::errno::Errno {
    let Err(errno) = nix::unistd::execv(path, argv);
    errno
}

/// How often a call that is interrupted, which none here should be, is made again.
const TRIES: usize = 8;

/// Reaps one child that has ended, if there is one: its pid and its wait(2) status.
///
/// Not nix's waitpid, which has no word for a real-time signal and loses such a child.
pub(crate) fn reap_any() -> Option<(Pid, i32)> {
    wait_without_blocking(-1).ok().flatten()
}

/// Reaps the child `pid` if it has ended; returns its wait(2) status.
///
/// # Errors
///
/// `ECHILD`: there is no such child (any more). Otherwise the kernel refuses both ways to ask.
pub(crate) fn reap(pid: Pid) -> nix::Result<Option<i32>> {
    match wait_without_blocking(pid.as_raw()) {
        Ok(reaped) => Ok(reaped.filter(|(reaped, _)| *reaped == pid).map(|(_, status)| status)),
        Err(_) => wait_by_id(libc::P_PID, pid.as_raw().unsigned_abs()),
    }
}

fn wait_without_blocking(pid: libc::pid_t) -> nix::Result<Option<(Pid, i32)>> {
    uninterrupted(|| {
        let mut status = 0;
        // SAFETY: the pointer is valid for the whole call, which keeps nothing of it.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        Errno::result(reaped).map(|pid| (pid != 0).then(|| (Pid::from_raw(pid), status)))
    })
}

/// waitid(2), which reaps what has ended and does not block; returns a wait(2) status.
pub(super) fn wait_by_id(kind: libc::idtype_t, id: libc::id_t) -> nix::Result<Option<i32>> {
    let options = libc::WEXITED | libc::WNOHANG;
    uninterrupted(|| {
        // SAFETY: siginfo_t is a plain C structure for which all zeroes is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the whole call, which keeps nothing of it.
        let result = unsafe { libc::waitid(kind, id, &raw mut info, options) };
        // SAFETY: waitid fills in the fields of a child's end, or leaves zeroes.
        Errno::result(result).map(|_| unsafe { wait_status(&info) })
    })
}

/// Calls again while the answer is EINTR, but only so often.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    let mut result = Err(Errno::EINTR);
    for _ in 0..TRIES {
        result = call();
        if !matches!(result, Err(Errno::EINTR)) {
            break;
        }
    }
    result
}

/// What wait(2) would say of a child's end; `None` if `info` tells of none.
///
/// # Safety
///
/// `info` is zeroes or tells of a child.
unsafe fn wait_status(info: &libc::siginfo_t) -> Option<i32> {
    // SAFETY: the caller's promise.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    Some(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    })
}

/// The pids of this process's children; none where the kernel does not list them.
pub(crate) fn children() -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let mut children = Vec::new();
    for pid in list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        // How many there are is up to them; what cannot be held is left out.
        if children.try_reserve(1).is_err() {
            break;
        }
        children.push(Pid::from_raw(pid));
    }
    children
}

/// Takes a waiting signal of `set`, all of which are blocked; returns its number.
///
/// # Errors
///
/// `EAGAIN`: none waits.
pub(crate) fn take_signal(set: &SigSet) -> nix::Result<libc::c_int> {
    let no_time = super::time::timespec(std::time::Duration::ZERO);
    // SAFETY: both point to live values, and nobody wants to know more than the number.
    let number = unsafe { libc::sigtimedwait(set.as_ref(), ptr::null_mut(), no_time.as_ref()) };
    Errno::result(number)
}

extern "C" fn leave_with_1(_signal: libc::c_int) {
    leave(1);
}

/// Makes SIGTERM end the process with status 1 and nothing else.
pub(crate) fn leave_on_sigterm() -> nix::Result<()> {
    let action =
        SigAction::new(SigHandler::Handler(leave_with_1), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only calls _exit, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGTERM, &action) }.map(drop)
}

/// Ignores SIGPIPE; a write to a closed peer then reports EPIPE.
pub(crate) fn ignore_sigpipe() -> nix::Result<()> {
    set_disposition(Signal::SIGPIPE, SigHandler::SigIgn)
}

/// Puts `signal` back to its default action.
pub(crate) fn reset_signal(signal: Signal) -> nix::Result<()> {
    set_disposition(signal, SigHandler::SigDfl)
}

fn set_disposition(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither SIG_IGN nor SIG_DFL runs any code of ours.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// A descriptor for signals whose every read is refused.
#[cfg(test)]
pub(crate) fn unreadable_signals() -> nix::sys::signalfd::SignalFd {
    // SAFETY: only reads are made through it, and those of a directory are refused.
    unsafe { nix::sys::signalfd::SignalFd::from_owned_fd(std::fs::File::open("/").unwrap().into()) }
}

/// The words that run this test program once more: an emulator's, where the tests of another
/// architecture run below one (`CONMON_TEST_EMULATOR`, separated by blanks), and its path.
#[cfg(test)]
pub(crate) fn this_program() -> Vec<std::ffi::OsString> {
    let emulator = std::env::var("CONMON_TEST_EMULATOR").unwrap_or_default();
    let words = emulator.split_whitespace().map(Into::into);
    words.chain([std::env::current_exe().unwrap().into()]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    #[test]
    fn an_interrupted_call_is_made_again_but_not_for_ever() {
        let mut answers = [Err(Errno::EINTR), Err(Errno::EINTR), Ok(7)].into_iter();
        assert_eq!(uninterrupted(|| answers.next().unwrap()), Ok(7));
        let mut answers = [Err(Errno::EINTR), Err(Errno::ECHILD), Ok(7)].into_iter();
        assert_eq!(uninterrupted(|| answers.next().unwrap()), Err(Errno::ECHILD));
        assert_eq!(uninterrupted(|| Err::<(), _>(Errno::EINTR)), Err(Errno::EINTR));
    }

    /// Both ways to reap say the same of how a child ended.
    #[test]
    fn every_end_is_told_alike() {
        let ends: [(fn() -> libc::c_int, i32); 3] = [
            (|| 7, 7 << 8),
            // SAFETY: signals go to the child itself, which has one thread.
            (|| unsafe { libc::raise(libc::SIGKILL) }, libc::SIGKILL),
            // SAFETY: as above.
            (|| unsafe { libc::raise(40) }, 40),
        ];
        for (end, expected) in ends {
            for by_id in [false, true] {
                let child = match fork().unwrap() {
                    ForkResult::Child => leave(end()),
                    ForkResult::Parent { child } => child,
                };
                let status = std::iter::from_fn(|| {
                    super::super::time::sleep(std::time::Duration::from_millis(1));
                    Some(match by_id {
                        false => reap(child).unwrap(),
                        true => wait_by_id(libc::P_PID, child.as_raw().unsigned_abs()).unwrap(),
                    })
                });
                assert_eq!(status.flatten().next(), Some(expected));
                assert_eq!(reap(child), Err(Errno::ECHILD));
            }
        }
    }

    #[test]
    fn a_child_has_the_memory_to_itself_and_its_own_descriptors() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let before = nix::sys::stat::fstat(std::io::stdin()).unwrap().st_ino;
        let mut seen = 0;
        let child = run_in_child(|| {
            seen = nix::unistd::getpid().as_raw();
            nix::unistd::dup2_stdin(&reader).map_or(1, |()| 7)
        })
        .unwrap();
        // It has ended, though nobody has waited.
        assert_eq!(seen, child.as_raw());
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
        assert_eq!(nix::sys::stat::fstat(std::io::stdin()).unwrap().st_ino, before);
        drop((reader, writer));
    }

    #[test]
    fn a_child_that_executes_a_program_lets_this_process_go_on() {
        let words = [c"/bin/sh", c"-c", c"kill -STOP $$; exit 3"].map(CString::from);
        let child = run_in_child(|| {
            exec(&words[0], &words);
            1
        })
        .unwrap();
        let stopped = waitpid(child, Some(nix::sys::wait::WaitPidFlag::WUNTRACED));
        assert_eq!(stopped, Ok(WaitStatus::Stopped(child, Signal::SIGSTOP)));
        nix::sys::signal::kill(child, Signal::SIGCONT).unwrap();
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 3)));
    }

    /// In children of their own: what becomes of a signal concerns the whole process.
    #[test]
    fn signals_and_children_do_what_they_were_told() {
        let set = |signal| SigSet::from(signal);
        let raised = |signal: Signal| nix::sys::signal::raise(signal).is_ok();
        let ends: [(&dyn Fn() -> bool, WaitStatus); 6] = [
            (
                // The test's own runtime ignores it.
                &|| {
                    reset_signal(Signal::SIGPIPE).is_ok()
                        && ignore_sigpipe().is_ok()
                        && raised(Signal::SIGPIPE)
                },
                exited(7),
            ),
            (
                &|| {
                    ignore_sigpipe().is_ok()
                        && reset_signal(Signal::SIGPIPE).is_ok()
                        && raised(Signal::SIGPIPE)
                },
                WaitStatus::Signaled(Pid::from_raw(1), Signal::SIGPIPE, false),
            ),
            (&|| leave_on_sigterm().is_ok() && raised(Signal::SIGTERM), exited(1)),
            (
                &|| {
                    let signals = set(Signal::SIGUSR2);
                    signals.thread_block().is_ok()
                        && take_signal(&signals) == Err(Errno::EAGAIN)
                        && raised(Signal::SIGUSR2)
                        && take_signal(&signals) == Ok(libc::SIGUSR2)
                },
                exited(7),
            ),
            (
                &|| match fork() {
                    Ok(ForkResult::Child) => leave(0),
                    Ok(ForkResult::Parent { child }) => children() == [child],
                    Err(_) => false,
                },
                exited(7),
            ),
            (
                &|| match fork() {
                    Ok(ForkResult::Child) => leave(3),
                    Ok(ForkResult::Parent { child }) => {
                        let pause = std::time::Duration::from_millis(1);
                        let looks = std::iter::repeat_with(|| {
                            super::super::time::sleep(pause);
                            reap_any()
                        });
                        looks.take(20_000).flatten().next() == Some((child, 3 << 8))
                            && reap_any().is_none()
                    }
                    Err(_) => false,
                },
                exited(7),
            ),
        ];
        for (number, (work, expected)) in ends.into_iter().enumerate() {
            let child = match fork().unwrap() {
                ForkResult::Child => leave(if work() { 7 } else { 8 }),
                ForkResult::Parent { child } => child,
            };
            let ended = match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, code) => exited(code),
                WaitStatus::Signaled(_, signal, core) => {
                    WaitStatus::Signaled(Pid::from_raw(1), signal, core)
                }
                other => other,
            };
            assert_eq!(ended, expected, "{number}");
        }
    }

    fn exited(code: i32) -> WaitStatus {
        WaitStatus::Exited(Pid::from_raw(1), code)
    }

    #[test]
    fn a_child_syncs_a_file_and_says_what_cannot_be_synced() {
        let file = tempfile::tempfile().unwrap();
        let child = sync_in_child(file.as_fd()).unwrap();
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let child = sync_in_child(reader.as_fd()).unwrap();
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, libc::EINVAL)));
    }
}
