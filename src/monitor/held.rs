//! What is known and held while the runtime creates the container.

use nix::unistd::Pid;

use crate::signals::Ended;
use crate::stream::Stream;

/// The most output that is held back of each stream; what a pipe would have held.
const HELD_BYTES: usize = 64 * 1024;

/// The end of the runtime's stderr that is told to the caller.
const MESSAGE_BYTES: usize = 8191;

/// The creation in progress.
///
/// Until it has succeeded nobody can tell the runtime's words from the container's, so both
/// streams are held back: a failure becomes the report to the caller, a success goes to the
/// log in the same chunks as if it had been left in the pipes.
#[derive(Default)]
pub(crate) struct Creation {
    runtime_ended: Option<Ended>,
    /// Children that ended before the container's pid was known: one may be the container.
    early_exits: Vec<(Pid, Ended)>,
    stdout: Held,
    stderr: Held,
}

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// The end of what had to be passed on because too much came.
    passed_on: Vec<u8>,
}

impl Creation {
    pub(crate) fn runtime_ended(&self) -> Option<Ended> {
        self.runtime_ended
    }

    /// Records the end of a child.
    pub(crate) fn child_ended(&mut self, pid: Pid, runtime: Pid, ended: Ended) {
        if pid == runtime && self.runtime_ended.is_none() {
            self.runtime_ended = Some(ended);
        } else {
            self.early_exits.push((pid, ended));
        }
    }

    /// How the container ended, if it did so before its pid was known.
    pub(crate) fn early_exit(&self, container: Pid) -> Option<Ended> {
        self.early_exits.iter().rev().find(|(pid, _)| *pid == container).map(|(_, ended)| *ended)
    }

    /// Holds `bytes` back; returns what must be passed on because it is too much to hold.
    #[must_use]
    pub(crate) fn hold(&mut self, stream: Stream, bytes: &[u8]) -> Option<Vec<u8>> {
        let held = self.held(stream);
        let mut full = None;
        if held.bytes.len() + bytes.len() > HELD_BYTES {
            let bytes = std::mem::take(&mut held.bytes);
            held.passed_on = end_of(&[&held.passed_on, &bytes]);
            full = Some(bytes);
        }
        held.bytes.extend_from_slice(bytes);
        full.filter(|bytes| !bytes.is_empty())
    }

    /// Takes what was held of `stream`, to be passed on now that the container exists.
    pub(crate) fn take_held(&mut self, stream: Stream) -> Vec<u8> {
        std::mem::take(&mut self.held(stream).bytes)
    }

    /// The end of what the runtime wrote to stderr, where the cause of a failure stands.
    pub(crate) fn message(&self) -> Vec<u8> {
        end_of(&[&self.stderr.passed_on, &self.stderr.bytes])
    }

    fn held(&mut self, stream: Stream) -> &mut Held {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

fn end_of(parts: &[&[u8]]) -> Vec<u8> {
    let mut whole = parts.concat();
    let surplus = whole.len().saturating_sub(MESSAGE_BYTES);
    whole.drain(..surplus);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_pipeful_and_passes_the_rest_on_in_order() {
        let mut creation = Creation::default();
        assert_eq!(creation.hold(Stream::Stdout, &[b'a'; HELD_BYTES]), None);
        assert_eq!(creation.hold(Stream::Stdout, b"b"), Some(vec![b'a'; HELD_BYTES]));
        assert_eq!(creation.take_held(Stream::Stdout), b"b");
    }

    #[test]
    fn the_message_is_the_end_of_stderr() {
        let mut creation = Creation::default();
        for _ in 0..3 {
            let _ = creation.hold(Stream::Stderr, &[b'x'; HELD_BYTES - 10]);
        }
        let _ = creation.hold(Stream::Stderr, b"the cause");
        let message = creation.message();
        assert_eq!(message.len(), MESSAGE_BYTES);
        assert!(message.ends_with(b"xthe cause"));
    }

    #[test]
    fn remembers_a_container_that_was_faster_than_its_pid() {
        let mut creation = Creation::default();
        let (runtime, container) = (Pid::from_raw(10), Pid::from_raw(11));
        creation.child_ended(container, runtime, Ended::Exited(3));
        creation.child_ended(runtime, runtime, Ended::Exited(0));
        assert_eq!(creation.runtime_ended(), Some(Ended::Exited(0)));
        assert_eq!(creation.early_exit(container), Some(Ended::Exited(3)));
    }
}
