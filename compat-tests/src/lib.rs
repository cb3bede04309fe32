//! Runs container monitors through scenarios, records all that can be seen of them, and says where two of them differ.
//!
//! docs/design.md shows the rooms and which may know which. Nothing here is shared with the monitor under test: a shared
//! constant would hide a shared mistake.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a command-line tool; its slices are checked where they are made"
)]

pub mod alias;
pub mod bench;
pub mod case;
pub mod cli;
pub mod clock;
pub mod crio;
pub mod driver;
pub mod faults;
pub mod golden;
pub mod host;
pub mod observation;
pub mod observe;
pub mod podman;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod stdout;
pub mod stop;
mod sys;
pub mod tables;
pub mod text;
pub mod verdict;
pub mod world;
