//! Argument vectors for the option parser, run against the reference and the candidate.
//!
//! Each row states what the newest C conmon does; `harness` says how older releases differ,
//! so that a wrong row is found out by the reference. `CONMON_REFERENCE` (by default
//! /usr/bin/conmon) and `CONMON_CANDIDATE` (by default this workspace's own build) name the
//! two programs. No vector starts a container, none needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod encoding;
mod environment;
mod harness;
mod integers;
mod log_path;
mod output;
mod runtime_argv;
mod scanning;
mod validation;
