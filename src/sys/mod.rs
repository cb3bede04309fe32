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
// Not into a static program for 32-bit ARM: its C library draws in gcc's own.
#[cfg(all(
    not(test),
    not(fuzzing),
    panic = "abort",
    not(all(target_arch = "arm", target_feature = "crt-static"))
))]
mod unwind;
