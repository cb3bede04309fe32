//! Receiving a descriptor through a socket.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Receives one message from `socket` and the one descriptor it must carry, close-on-exec.
///
/// `ECOMM` when the message carries none.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // The runtime sends the terminal's name as the message's text, which nobody needs.
    let mut name = [0_u8; 4095];
    let mut control = cmsg_space!([libc::c_int; 1]);
    let mut text = [IoSliceMut::new(&mut name)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut text, Some(&mut control), flags)?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            for fd in fds {
                // SAFETY: the kernel just made this descriptor for us alone.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // Any but the first is closed again: alignment leaves room for a second.
                received.get_or_insert(fd);
            }
        }
    }
    received.ok_or(Errno::ECOMM)
}
