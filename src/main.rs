//! conmon: monitors one OCI container from its creation to the record of its exit.
#![deny(unsafe_code)]

mod attach;
mod config;
mod control;
mod diagnostics;
mod failure;
mod notify;
mod stdin;
mod stream;
#[allow(unsafe_code)]
mod sys;
mod unix_socket;

fn main() {}
