//! Podman itself as the judge: the same commands with one monitor and with another, and what came of them.
//!
//! A case is a shell script in `fixtures/podman/`; it is run in a world of its own storage and configuration once for each
//! monitor. What is compared is what a user sees: exit status, standard output and error, and whether monitors are left.

pub mod case;
pub mod fact;
pub mod host;
pub mod outcome;
pub mod script;
pub mod world;
