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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::sys::socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, getsockname,
        listen, recv, socket, socketpair,
    };

    use super::*;

    const KIND: (AddressFamily, SockType) = (AddressFamily::Unix, SockType::SeqPacket);

    #[test]
    fn packets_leave_whole_and_in_order_so_many_at_a_time() {
        let (ours, theirs) = socketpair(KIND.0, KIND.1, None, SockFlag::empty()).unwrap();
        let numbers: Vec<u8> = (0..10).collect();
        let packets: Vec<Packet<'_>> = numbers.chunks(1).map(|n| [&b"ab"[..], n]).collect();
        assert_eq!(send_packets(ours.as_fd(), &packets), Ok(PACKETS_PER_CALL));
        assert_eq!(send_packets(ours.as_fd(), &packets[PACKETS_PER_CALL..]), Ok(2));
        assert_eq!(waiting_bytes(theirs.as_fd()), Ok(30));
        let mut packet = [0; 100];
        for number in 0..10 {
            let length = recv(theirs.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
            assert_eq!(packet[..length], [b'a', b'b', number]);
        }
        assert_eq!(waiting_bytes(theirs.as_fd()), Ok(0));
        let big = [0; 20_000];
        let full = (0..1000).find_map(|_| send_packets(ours.as_fd(), &[[&big, &big]]).err());
        assert_eq!(full, Some(Errno::EAGAIN));
        drop(theirs);
        // The first is told that what it sent was not read.
        let refused = [(); 2].map(|()| send_packets(ours.as_fd(), &packets));
        assert_eq!(refused, [Err(Errno::ECONNRESET), Err(Errno::EPIPE)]);
    }

    #[test]
    fn a_connection_that_is_taken_neither_blocks_nor_is_inherited() {
        let listener = socket(KIND.0, KIND.1, SockFlag::SOCK_NONBLOCK, None).unwrap();
        // The kernel chooses a name that is in no file system.
        bind(listener.as_raw_fd(), &UnixAddr::new_unnamed()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        assert_eq!(accept(listener.as_fd()).err(), Some(Errno::EAGAIN));
        let client = socket(KIND.0, KIND.1, SockFlag::empty(), None).unwrap();
        let address: UnixAddr = getsockname(listener.as_raw_fd()).unwrap();
        connect(client.as_raw_fd(), &address).unwrap();
        let taken = accept(listener.as_fd()).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&taken, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK), "{flags:?}");
        assert_eq!(fcntl(&taken, FcntlArg::F_GETFD), Ok(libc::FD_CLOEXEC));
    }
}
