//! Descriptors the process was started with.

use nix::errno::Errno;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

/// Up to where descriptors are looked for one by one, when the kernel does not list them.
const HIGHEST: RawFd = 1024;

/// Opens /dev/null in the place of each standard descriptor that is closed, so that no other
/// file gets its number.
pub(crate) fn open_standard() -> nix::Result<()> {
    let fd = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut standard = [0, 1, 2].map(fd);
    // SAFETY: the array is valid for its length; a timeout of zero does not block. Should the
    // call fail, no descriptor counts as closed.
    unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    for fd in standard.iter().filter(|fd| fd.revents & libc::POLLNVAL != 0) {
        // SAFETY: the path is a C string; the lowest free number, which is `fd`'s, is not
        // owned by anything.
        let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if Errno::result(opened)? != fd.fd {
            return Err(Errno::EBADF);
        }
    }
    Ok(())
}

/// Takes ownership of every descriptor from 3 up that is open now.
///
/// For `main`, as its first act, when nothing else in the process owns a descriptor yet. The
/// listing's own descriptor is closed before the numbers are adopted.
pub(crate) fn adopt_open_at_start() -> Vec<OwnedFd> {
    let Ok(listing) = std::fs::read_dir("/proc/self/fd") else {
        // No /proc, or not for us: there may be pipes of the caller all the same.
        return (3..HIGHEST).filter(|number| is_open(*number)).map(adopt).collect();
    };
    let numbers: Vec<RawFd> = listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // The listing saw its own descriptor, which is closed by now.
    numbers.into_iter().filter(|number| is_open(*number)).map(adopt).collect()
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only asks about a number; any number may be asked.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the number is open and, at the moment `adopt_open_at_start` is called, no
    // other value in the process owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Makes a new descriptor, close-on-exec and above 2, for whatever `number` (0, 1 or 2)
/// refers to.
pub(crate) fn duplicate_stdio(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes and returns plain numbers.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    Errno::result(copy)?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Writes all of `bytes`, in as many calls as the kernel wants.
///
/// # Errors
///
/// write(2)'s; `EIO` when it takes nothing.
pub(crate) fn write_all(fd: impl AsFd, bytes: &[u8]) -> nix::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(fd.as_fd(), rest) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Closes every descriptor from 3 up, whoever owns it.
///
/// For a child that does one more thing and then leaves without running any destructor:
/// nothing there uses a descriptor it no longer has. Allocates nothing.
pub(super) fn close_all_but_stdio() {
    // SAFETY: see above; the caller is such a child. The call takes plain integers.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Before Linux 5.9; a monitor has far fewer.
    for number in 3..HIGHEST {
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_copy_of_a_standard_descriptor_is_above_them_and_not_inherited() {
        let copy = duplicate_stdio(0).unwrap();
        assert!(copy.as_raw_fd() > 2 && is_open(copy.as_raw_fd()));
        let flags = nix::fcntl::fcntl(&copy, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
        let inode = |fd: &dyn std::os::fd::AsFd| nix::sys::stat::fstat(fd.as_fd()).unwrap().st_ino;
        assert_eq!(inode(&copy), inode(&std::io::stdin()));
        assert!(!is_open(-1) && !is_open(RawFd::MAX));
    }
}
