//! Calls without a safe wrapper. All `unsafe` of the stand-in is in this file.

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, Pid, fork};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Forks; the stand-in has one thread, so the child may go on as it likes.
pub fn fork_process() -> io::Result<ForkResult> {
    // SAFETY: single-threaded, see above.
    unsafe { fork() }.map_err(io::Error::from)
}

/// Ends a forked child without running what the parent has registered.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: always allowed.
    unsafe { libc::_exit(status) }
}

pub fn ignore(number: Signal) -> io::Result<()> {
    // SAFETY: SIG_IGN runs no code.
    unsafe { signal(number, SigHandler::SigIgn) }.map(drop).map_err(io::Error::from)
}

/// Closes every descriptor above the standard ones.
pub fn close_above_standard() {
    // SAFETY: called in children that go on to exec or to wait; they use no such descriptor.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Makes the terminal on standard input the controlling one of this session.
pub fn take_terminal() {
    // SAFETY: TIOCSCTTY takes an int argument.
    unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
}

/// How much of what was sent through `socket` its peer has not read.
pub fn unread(socket: &impl AsFd) -> io::Result<libc::c_int> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is also SIOCOUTQ, stores one int.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) } {
        0 => Ok(count),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for the end of `pid` and leaves it a zombie.
pub fn await_end(pid: Pid) -> io::Result<()> {
    // SAFETY: the all-zero value is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = libc::id_t::try_from(pid.as_raw()).map_err(io::Error::other)?;
    // SAFETY: `info` outlives the call.
    match unsafe { libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
