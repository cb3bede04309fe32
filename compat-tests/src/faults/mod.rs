//! Faults: lives of one container in each of which one system call of the monitor fails.
//!
//! `outcome` is what is known of a life, `errnos` how calls can fail, `matrix` the cases that
//! follow from a recorded life, `verdict` what a monitor owes all the same and `play` the way to
//! the stage (a helper program, `fault-stage`). `tables/faults.rs` makes cases of them.

pub mod errnos;
pub mod matrix;
/// The form in which the stage is asked and answers.
#[path = "../../helpers/src/fault-stage/outcome.rs"]
pub mod outcome;
pub mod play;
pub mod verdict;
