//! conmon: monitors one OCI container from its creation to the record of its exit.
#![deny(unsafe_code)]

mod cli;
mod config;
mod diagnostics;
mod failure;
mod log;
mod stream;
#[allow(unsafe_code)]
mod sys;

fn main() {}
