//! Runs container monitors through scenarios, records all that can be seen of them, and says
//! where two of them differ.
//!
//! `scenario`, `observation`, `diff` and `verdict` are plain data and do no input or output;
//! `stage`, `world` and `driver` make one run; `observe` looks. Nothing here is shared with
//! the monitor under test: a shared constant would hide a shared mistake.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a command-line tool; its slices are checked where they are made"
)]

pub mod argv;
pub mod cgroup;
pub mod crio;
pub mod diff;
pub mod driver;
pub mod host;
pub mod normalize;
pub mod observation;
pub mod observe;

pub mod paths;
pub mod podman;
pub mod report;
pub mod scenario;
pub mod stage;
pub mod stdout;
pub mod subject;
pub mod suite;
mod sys;
pub mod tables;
pub mod text;
pub mod verdict;
pub mod world;
