//! Kernel and C library calls that nix lacks: the only home of `unsafe`.
//!
//! Each function does one operation, reports an errno and decides nothing. Nothing here
//! imports another room.

pub(crate) mod datagrams;
pub(crate) mod errno;

pub(crate) mod newlines;
pub(crate) mod pages;
pub(crate) mod time;
