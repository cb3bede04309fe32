//! Forking, leaving, and attributes of the process.

use std::ffi::CString;

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

/// Reaps one child that has ended, if there is one: its pid and its wait(2) status.
///
/// Not nix's waitpid, which has no word for a real-time signal and loses such a child.
pub(crate) fn reap_any() -> Option<(Pid, i32)> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the whole call, which keeps nothing of it.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (Pid::from_raw(pid), status))
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
