//! Kernel and C library calls that nix lacks: the only home of `unsafe`.
//!
//! Each function does one operation, reports an errno and decides nothing. Nothing here
//! imports another room.
#![allow(unsafe_code)]

pub(crate) mod errno;
pub(crate) mod socket;
pub(crate) mod time;
