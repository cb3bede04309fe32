//! The two output streams of a container.

/// One of the container's output streams; a terminal's output counts as `Stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The most bytes that are treated as one chunk: one timestamp in a k8s-file log and one
/// packet to each attach client. Callers size their receive buffers by it.
pub(crate) const CHUNK_BYTES: usize = 8192;
