//! The OCI runtime: what it is asked, how it is started, and the pid it hands back.

pub(crate) mod argv;
pub(crate) mod pid_file;
#[cfg(test)]
mod properties;
pub(crate) mod spawn;
