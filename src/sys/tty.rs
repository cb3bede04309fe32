//! Terminals.

use std::os::fd::{AsRawFd, BorrowedFd};

nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, libc::winsize);

/// Sets the terminal's size in characters; the size in pixels is unknown, so zero.
pub(crate) fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel only reads the structure, which lives for the whole call.
    unsafe { tiocswinsz(terminal.as_raw_fd(), &raw const size) }.map(drop)
}
