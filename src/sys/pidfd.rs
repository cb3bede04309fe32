//! Process descriptors: to wait for, signal and question a process that cannot be mistaken
//! for a later one with the same number.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// pidfd_open(2). `ENOSYS` before Linux 5.3, `ESRCH` when there is no such process.
pub(crate) fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel just made this descriptor (close-on-exec) for us alone; it fits an
    // int, as every descriptor does.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// pidfd_send_signal(2).
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal as libc::c_int,
            no_info,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// Reaps `process`, a child, if it has ended; returns its wait(2) status.
///
/// # Errors
///
/// `ECHILD`: it is no child (any more). `EINVAL` before Linux 5.4.
pub(crate) fn reap(process: BorrowedFd<'_>) -> nix::Result<Option<i32>> {
    super::process::wait_by_id(libc::P_PIDFD, process.as_raw_fd().unsigned_abs())
}

/// `struct pidfd_info` of <linux/pidfd.h>, in its first size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(pidfd_get_info, 0xFF, 11, PidfdInfo);

/// The wait(2) status of a process that is gone and was reaped by its own parent.
///
/// `None` while it is not reaped, and before Linux 6.15, which cannot tell.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's number carries the structure's size, so the kernel writes no
    // more than the structure holds.
    unsafe { pidfd_get_info(process.as_raw_fd(), &raw mut info) }.ok()?;
    (info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::PollFlags;
    use nix::unistd::ForkResult;

    use super::*;

    #[test]
    fn a_process_that_never_was_has_no_descriptor() {
        assert_eq!(open(Pid::from_raw(i32::MAX)).err(), Some(Errno::ESRCH));
    }

    #[test]
    fn a_child_is_signalled_and_reaped_by_its_descriptor() {
        let child = match super::super::process::fork().unwrap() {
            ForkResult::Child => loop {
                nix::unistd::pause();
            },
            ForkResult::Parent { child } => child,
        };
        let process = open(child).unwrap();
        assert_eq!((reap(process.as_fd()), exit_status(process.as_fd())), (Ok(None), None));
        send_signal(process.as_fd(), Signal::SIGTERM).unwrap();
        let limit = std::time::Duration::from_secs(20);
        assert!(super::super::poll::wait_for(process.as_fd(), PollFlags::POLLIN, limit));
        assert_eq!(reap(process.as_fd()), Ok(Some(libc::SIGTERM)));
        assert_eq!(reap(process.as_fd()), Err(Errno::ECHILD));
        assert_eq!(send_signal(process.as_fd(), Signal::SIGTERM), Err(Errno::ESRCH));
        // Where the kernel can tell, it tells the truth. An emulator refuses requests it does not know.
        let status = exit_status(process.as_fd());
        assert!([None, Some(libc::SIGTERM)].contains(&status), "{status:?}");
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
        let is_emulated = std::env::var_os("CONMON_TEST_EMULATOR").is_some();
        if !is_emulated && (numbers.next(), numbers.next()) >= (Some(6), Some(15)) {
            assert_eq!(status, Some(libc::SIGTERM));
        }
    }
}
