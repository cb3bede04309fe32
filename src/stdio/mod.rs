//! Where the container's output comes from: pipes, or the terminal the runtime hands over.

pub(crate) mod console;
pub(crate) mod output;
