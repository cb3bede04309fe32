//! The few kernel calls that need `unsafe`.
//!
//! nix makes all others. Only two requests of ioctl(2), a terminal's size and a socket's unread bytes, are rustix's: for these nix has
//! macros whose functions are unsafe.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};

/// The capability to raise limits, and to lower an OOM score (linux/capability.h).
pub const CAP_SYS_RESOURCE: libc::c_ulong = 24;

/// What is done in a new process between fork and exec.
#[derive(Default)]
pub struct ChildSetup {
    /// Descriptors and the numbers they get; each loses its close-on-exec flag.
    pub fds: Vec<(OwnedFd, RawFd)>,
    pub close: Vec<RawFd>,
    pub umask: Option<u32>,
    pub new_group: bool,
    pub new_session: bool,
    pub controlling_tty: bool,
    /// Gives every signal its default first, whatever the suite was started with.
    pub default_signals: bool,
    pub ignore: Vec<Signal>,
    pub block: Vec<Signal>,
    pub parent_death_signal: Option<Signal>,
    pub unshare: Option<CloneFlags>,
    pub oom_score_adj: Option<i32>,
    /// Without CAP_SYS_RESOURCE, for this process and all that come of it.
    pub drop_sys_resource: bool,
}

/// Arranges for `setup` to happen in the child that `command` will start.
pub fn prepare(command: &mut Command, setup: ChildSetup) {
    let steps = move || apply(&setup);
    // SAFETY: between fork and exec `apply` makes system calls on data prepared before the
    // fork; the one allocation, in formatting a number, happens in a process whose other
    // threads hold no allocator lock that glibc does not release in the child.
    unsafe { command.pre_exec(steps) };
}

fn apply(setup: &ChildSetup) -> io::Result<()> {
    if let Some(signal) = setup.parent_death_signal {
        nix::sys::prctl::set_pdeathsig(signal)?;
    }
    if let Some(flags) = setup.unshare {
        nix::sched::unshare(flags)?;
    }
    if let Some(mask) = setup.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    }
    if let Some(score) = setup.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())?;
    }
    if setup.drop_sys_resource {
        // SAFETY: this prctl takes numbers only. What is not there cannot be dropped, and need not.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) };
    }
    if setup.new_session {
        nix::unistd::setsid()?;
    } else if setup.new_group {
        nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))?;
    }
    if setup.default_signals {
        reset_signals();
    }
    for signal in &setup.ignore {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { nix::sys::signal::signal(*signal, SigHandler::SigIgn) }?;
    }
    let mut mask = SigSet::empty();
    setup.block.iter().for_each(|signal| mask.add(*signal));
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    for (fd, number) in &setup.fds {
        // SAFETY: the number is reserved for this by the caller; nobody else owns it here.
        Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), *number) })?;
    }
    for number in &setup.close {
        // SAFETY: as above; a number that is not open is no error.
        unsafe { libc::close(*number) };
    }
    if setup.controlling_tty {
        // SAFETY: TIOCSCTTY takes an int by value.
        unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    }
    Ok(())
}

/// Whether the kernel filters system calls. Source: seccomp(2), `SECCOMP_SET_MODE_FILTER` with an address that cannot be read.
pub fn has_seccomp() -> bool {
    // SAFETY: the kernel reads a filter at the address, where nothing is mapped, and changes nothing.
    let done = unsafe {
        let filter = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, filter, 0, std::ptr::null::<libc::sock_fprog>())
    };
    Errno::result(done) == Err(Errno::EFAULT)
}

/// Starts a process that ends at once, and says which pid it had: ten times cheaper than a thread.
///
/// # Errors
///
/// clone(2).
pub fn use_up_a_pid() -> nix::Result<i32> {
    extern "C" fn end(_: *mut libc::c_void) -> i32 {
        0
    }
    let mut stack = vec![0_u8; 16384];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: the child runs `end` on a stack of its own, aligned below; with CLONE_VFORK it has
    // ended before the stack is freed, and nothing else runs in this thread meanwhile.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end;
        let top = top.sub(top.addr() % 16);
        Errno::result(libc::clone(end, top.cast(), flags, std::ptr::null_mut()))?
    };
    // SAFETY: a null status is allowed. A child without an end signal needs __WCLONE.
    Errno::result(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WCLONE) })?;
    Ok(pid)
}

/// Gives every signal its default action, also those that the C library keeps for itself.
fn reset_signals() {
    // The kernel's own form: handler, flags, restorer, mask; all zero is the default action.
    let default = [0_u64; 4];
    for number in 1..=64_i64 {
        // SAFETY: the kernel reads one action from `default` and writes none back. Signals
        // that cannot be changed are refused, which is as good.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                std::mem::size_of::<u64>(),
            )
        };
    }
}

/// Occupies the numbers 3 to 29, so that what the suite opens later lies above them and a
/// child can be given any of them.
pub fn reserve_low_descriptors() -> io::Result<Vec<OwnedFd>> {
    let null = std::fs::File::open("/dev/null")?;
    let mut kept = Vec::new();
    loop {
        let fd = null.as_fd().try_clone_to_owned()?;
        if fd.as_raw_fd() >= 30 {
            return Ok(kept);
        }
        kept.push(fd);
    }
}

/// Keeps whatever this process was started with from its children.
pub fn close_inherited_on_exec() -> nix::Result<()> {
    let last = libc::c_uint::MAX;
    // SAFETY: marking descriptors close-on-exec frees none of them.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, last, libc::CLOSE_RANGE_CLOEXEC)
    };
    Errno::result(done).map(drop)
}

/// Receives one message with its length before truncation, its sender's pid (when the socket
/// passes credentials) and the first descriptor that came along.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<Received> {
    let mut control = [0_u8; 256];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is a valid empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: header points to a buffer, a part and a control area that outlive the call.
    let length = Errno::result(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) })?;
    let mut received =
        Received { length: usize::try_from(length).unwrap_or(0), pid: None, fd: None };
    // SAFETY: the kernel has filled the control area that header describes.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: message is a control header inside the area, as CMSG_*HDR return them.
        let (kind, data) = unsafe { ((*message).cmsg_type, libc::CMSG_DATA(message)) };
        if kind == libc::SCM_CREDENTIALS {
            // SAFETY: this kind carries one ucred.
            let credentials = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            received.pid = Some(credentials.pid);
        } else if kind == libc::SCM_RIGHTS {
            // SAFETY: this kind carries at least one descriptor, now ours.
            let fd = unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().read_unaligned()) };
            received.fd = Some(fd);
        }
        // SAFETY: header and message are as above.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok(received)
}

/// What [`receive`] got.
pub struct Received {
    pub length: usize,
    pub pid: Option<i32>,
    pub fd: Option<OwnedFd>,
}

/// Opens a pseudo terminal: its master and its slave.
pub fn open_terminal() -> nix::Result<(OwnedFd, OwnedFd)> {
    let ends = nix::pty::openpty(None, None)?;
    for fd in [&ends.master, &ends.slave] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok((ends.master, ends.slave))
}

/// Has `handler` called at the next `signal`; the one after it does what it does by default.
pub fn call_once_at(signal: Signal, handler: extern "C" fn(i32)) -> nix::Result<()> {
    let flags = SaFlags::SA_RESTART | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: the only handler there is stores a flag, which is safe at any moment. Programs that are started get the default.
    unsafe { nix::sys::signal::sigaction(signal, &action) }.map(|_| ())
}
