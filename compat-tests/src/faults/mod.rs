//! Faults: lives of one container in each of which one system call of the monitor fails.
//!
//! `outcome` is what is known of a life, `errnos` how calls can fail, `matrix` the cases that
//! follow from a recorded life, `verdict` what a monitor owes all the same, `exceptions` what
//! is known and why, `play` the way to the stage (a helper program, `fault-stage`), `run` all
//! of them together and `tell` what is printed.

pub mod errnos;
pub mod exceptions;
pub mod matrix;
/// The form in which the stage is asked and answers.
#[path = "../../helpers/src/fault-stage/outcome.rs"]
pub mod outcome;
mod play;
pub mod run;
pub mod tell;
pub mod verdict;
