//! Starting a process with exactly the descriptors it is to have.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a launched process finds besides arguments and environment.
#[derive(Default)]
pub struct Inheritance {
    /// Descriptors and the numbers they get; all others above 2 are closed.
    pub fds: Vec<(RawFd, OwnedFd)>,
    pub umask: Option<libc::mode_t>,
    pub oom_score_adj: Option<i32>,
    /// Signals that are ignored; all others have their default action.
    pub ignored: Vec<i32>,
}

/// Makes `command` start its process as `inheritance` says, in a process group of its own, with no other signals
/// ignored: whoever runs the tests (nohup, say) may ignore some.
pub fn bequeath(command: &mut Command, inheritance: &Inheritance) {
    let pairs: Vec<(RawFd, RawFd)> =
        inheritance.fds.iter().map(|(number, fd)| (*number, fd.as_raw_fd())).collect();
    let (umask, oom_score_adj) = (inheritance.umask, inheritance.oom_score_adj);
    let ignored = inheritance.ignored.clone();
    let prepare = move || {
        // SAFETY: in the forked child; only marks descriptors.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        for signal in 1..=31 {
            let action = if ignored.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
            // SAFETY: installs no handler; what cannot be changed is refused, which is as good.
            unsafe { libc::signal(signal, action) };
        }
        for &(number, source) in &pairs {
            assert_ne!(number, source, "sources are below the numbers given out");
            // SAFETY: dup2 replaces a number that only the program to be started will use.
            if unsafe { libc::dup2(source, number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(mask) = umask {
            // SAFETY: always succeeds.
            unsafe { libc::umask(mask) };
        }
        if let Some(score) = oom_score_adj {
            fs::write("/proc/self/oom_score_adj", score.to_string())?;
        }
        Ok(())
    };
    command.process_group(0);
    // SAFETY: the closure allocates little and takes no lock another thread could hold.
    unsafe { command.pre_exec(prepare) };
}

/// Sends `number` to one process.
pub fn kill(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: pids come from the test's own processes.
    if unsafe { libc::kill(pid, number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Becomes the tracer of `pid`, which goes on; once it has ended, it is kept until
/// [`let_go_of`] is called by the same thread.
pub fn trace(pid: i32) -> io::Result<()> {
    let nothing: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: seizing reads and writes no memory.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) };
    if seized < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets go of a traced process that has ended.
pub fn let_go_of(pid: i32) -> io::Result<()> {
    // SAFETY: no status is asked for.
    let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
    if reaped < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets `pid` have no more address space than it has now.
pub fn limit_address_space(pid: i32) -> io::Result<()> {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: libc::rlim_t = pages.split(' ').next().unwrap_or_default().parse().unwrap();
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let bytes = pages * libc::rlim_t::try_from(page).unwrap();
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the structure is only read; the old limit is not asked for.
    let set =
        unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
