//! One run's surroundings: the processes around it, private file systems, the bundle and the runtime.

pub mod argv;
pub mod build;
pub mod bundle;
pub mod keeper;
pub mod mounts;
pub mod paths;
pub mod programs;
pub mod request;
pub mod watchdog;
