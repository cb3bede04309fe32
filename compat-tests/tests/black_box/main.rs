//! Tests of a monitor from outside: one process tree per test, with the stand-in runtime.
//!
//! A test that takes a `Subject` runs against our binary and against the reference, which is
//! how we know that the test is right. Where the reference behaves otherwise, the table says
//! so, and the row holds for version 2.1.6 only: `World::as_in_2_1_6` leaves others out.
//! `CONMON_CANDIDATE` and `CONMON_REFERENCE` name the binaries.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "all of this crate is test code"
)]

mod at_the_end;
mod at_work;
mod attach;
mod console;
mod control;
mod create;
mod exec;
mod exit;
mod exit_command;
mod facts;
mod log;
mod notify;
mod peer;
mod readers;
mod record;
mod refusing;
mod reports;
mod running;
mod runtime;
mod signals;
#[path = "../common/skip.rs"]
mod skip;
mod soak;
mod stalls;
mod steady;
mod subject;
mod sys;
mod timeout;
mod world;
