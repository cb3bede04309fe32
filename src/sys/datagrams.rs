//! Sending datagrams, many in one system call.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The most datagrams one call sends.
pub(crate) const BATCH: usize = 32;

/// Sends at most [`BATCH`] datagrams of `N` pieces each over a connected socket, without
/// blocking, and returns how many were sent.
///
/// An error tells about the first datagram alone: if a later one fails, those before it are
/// sent and counted. Source: sendmmsg(2).
pub(crate) fn send_each<const N: usize>(
    socket: BorrowedFd<'_>,
    datagrams: &[[IoSlice<'_>; N]],
) -> nix::Result<usize> {
    match datagrams {
        // One is what comes most often, and takes less time and stack.
        [pieces] => send_one(socket, pieces).map(|()| 1),
        _ => send_many(socket, datagrams),
    }
}

/// Sends one message of these pieces over a connected socket, without blocking.
pub(crate) fn send_one(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> nix::Result<()> {
    // SAFETY: msghdr is a plain C structure for which all zeroes is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // An IoSlice has the layout of an iovec; sending does not write through the pointer.
    header.msg_iov = pieces.as_ptr().cast::<libc::iovec>().cast_mut();
    header.msg_iovlen = pieces.len() as _;
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the header is initialised and points to pieces that outlive the call, which keeps
    // no pointer.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
    Errno::result(sent).map(drop)
}

#[inline(never)]
fn send_many<const N: usize>(
    socket: BorrowedFd<'_>,
    datagrams: &[[IoSlice<'_>; N]],
) -> nix::Result<usize> {
    // SAFETY: mmsghdr is a plain C structure for which all zeroes is a valid value.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for (header, pieces) in headers.iter_mut().zip(datagrams) {
        // An IoSlice has the layout of an iovec; sending does not write through the pointer.
        header.msg_hdr.msg_iov = pieces.as_ptr().cast::<libc::iovec>().cast_mut();
        header.msg_hdr.msg_iovlen = pieces.len() as _;
        count += 1;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers are initialised and point to pieces that `datagrams`
    // keeps alive during the call; the kernel keeps no pointer.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn sends_each_as_its_own_datagram_in_order() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let pieces =
            [[IoSlice::new(b"a"), IoSlice::new(b"bc")], [IoSlice::new(b""), IoSlice::new(b"d")]];
        assert_eq!(send_each(ours.as_fd(), &pieces), Ok(2));
        let mut buffer = [0; 16];
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 1);
        assert_eq!(&buffer[..1], b"d");
    }

    #[test]
    fn sends_what_fits_and_then_says_that_it_would_block() {
        let (ours, _theirs) = UnixDatagram::pair().unwrap();
        let piece = vec![0; 8192];
        let pieces: Vec<_> = (0..BATCH).map(|_| [IoSlice::new(&piece)]).collect();
        let mut sent = 0;
        let end = loop {
            match send_each(ours.as_fd(), &pieces) {
                Ok(count) => sent += count,
                Err(errno) => break errno,
            }
        };
        assert_eq!(end, Errno::EAGAIN);
        assert!(sent > 0);
        // One alone goes another way.
        assert_eq!(send_each(ours.as_fd(), &pieces[..1]), Err(Errno::EAGAIN));
    }

    #[test]
    fn one_alone_is_sent_too() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let pieces = [[IoSlice::new(b"a"), IoSlice::new(b"bc")]];
        assert_eq!(send_each(ours.as_fd(), &pieces), Ok(1));
        theirs.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        drop(theirs);
        assert_eq!(send_each(ours.as_fd(), &pieces), Err(Errno::ECONNREFUSED));
    }
}
