//! Listening places in the file system: the attach socket and the notify socket.
//!
//! Both are bound the same way, with the same words when that fails, although neither is the
//! "console-socket" which the texts name.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::unlink;

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};

/// Binds a new non-blocking socket to `name` below `dir`, in place of whatever was there.
///
/// The address goes through /proc/self/fd, so that `dir` may be longer than a socket address.
///
/// # Errors
///
/// Refuses, in the reference's words; a directory in the way is not removed.
pub(crate) fn bind_below(
    dir: &Path,
    name: &str,
    kind: SockType,
    mode: Mode,
    diagnostics: &Diagnostics,
) -> Result<OwnedFd, Failure> {
    let path = dir.join(name);
    let path_bytes = path.as_os_str().as_bytes();
    let failed = |parts: &[&[u8]], errno| Failure::with_errno(concat(parts), errno);

    let flags = OFlag::O_RDONLY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let parent = open(dir, flags, Mode::empty()).map_err(|errno| {
        failed(&[b"failed to open socket path parent dir ", dir.as_os_str().as_bytes()], errno)
    })?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let bound = socket(AddressFamily::Unix, kind, flags, None)
        .map_err(|errno| failed(&[b"Failed to create socket ", path_bytes], errno))?;
    match unlink(&path) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => {
            return Err(failed(&[b"Failed to remove existing socket: ", path_bytes], errno));
        }
    }
    let address = format!("/proc/self/fd/{}/{name}", parent.as_raw_fd());
    diagnostics.debug(format!("addr{{sun_family=AF_UNIX, sun_path={address}}}"));
    // Before the name exists, and not by the name: whoever can write its directory may put
    // another file there. What bind(2) makes has the socket's mode, less the umask.
    fchmod(&bound, mode).map_err(|errno| {
        failed(&[b"Failed to change console-socket permissions"], errno).on(&path)
    })?;
    let umask_before = umask(Mode::from_bits_truncate(0o777) - mode);
    let named =
        UnixAddr::new(address.as_str()).and_then(|address| bind(bound.as_raw_fd(), &address));
    umask(umask_before);
    named.map_err(|errno| failed(&[b"Failed to bind to console-socket"], errno).on(&path))?;
    Ok(bound)
}
