//! What is looked at, each kind in its own file.

pub mod clients;
pub mod datagrams;
pub mod files;
pub mod logs;
pub mod normalize;
pub mod process;
pub mod records;
pub mod streams;
pub mod watch;
