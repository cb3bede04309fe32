//! Kernel and C library calls that nix lacks: the only home of `unsafe`.
//!
//! Each function does one operation, reports an errno and decides nothing. Nothing here
//! imports another room.

pub(crate) mod datagrams;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod fd;
pub(crate) mod newlines;
pub(crate) mod pages;
pub(crate) mod passed_fd;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod time;
pub(crate) mod tty;
#[cfg(all(not(test), not(fuzzing), panic = "abort"))]
mod unwind;
