//! Socket calls that nix lacks or answers with a bare descriptor number.

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

/// The most packets that [`send_packets`] hands to the kernel in one call.
pub(crate) const PACKETS_PER_CALL: usize = 8;

/// A packet in two pieces, which leave as one.
pub(crate) type Packet<'a> = [&'a [u8]; 2];

/// Sends the first [`PACKETS_PER_CALL`] of `packets` without blocking; returns how many left,
/// at least one.
///
/// Every packet leaves whole or not at all. An error after the first packet is reported by
/// the next call.
pub(crate) fn send_packets(socket: BorrowedFd<'_>, packets: &[Packet<'_>]) -> nix::Result<usize> {
    let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
    let mut pieces = [[empty; 2]; PACKETS_PER_CALL];
    // SAFETY: all-zero bytes are a valid mmsghdr: null pointers with zero lengths.
    let mut headers: [libc::mmsghdr; PACKETS_PER_CALL] = unsafe { mem::zeroed() };
    let mut count = 0;
    for ((packet, pieces), header) in packets.iter().zip(&mut pieces).zip(&mut headers) {
        for (bytes, piece) in packet.iter().zip(pieces.iter_mut()) {
            *piece =
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        header.msg_hdr.msg_iov = pieces.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `count` headers are filled in; their iovecs and what those point to outlive the
    // call, which only reads from them.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) };
    let sent = Errno::result(sent)?;
    Ok(usize::try_from(sent).unwrap_or_default())
}

/// Takes one waiting connection; the new socket is non-blocking and close-on-exec.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null is allowed for an address that is not wanted.
    let accepted =
        unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) };
    let accepted = Errno::result(accepted)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

/// How many bytes wait to be received, over all packets, or read from a pipe. See unix(7),
/// SIOCINQ, and pipe(7), FIONREAD.
pub(crate) fn waiting_bytes(socket: BorrowedFd<'_>) -> nix::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request stores one int through the pointer, which is valid for it.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}
