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

/// What has to be passed on: first what was held before, then what is new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surplus<'a> {
    pub(crate) held: Vec<u8>,
    pub(crate) new: &'a [u8],
}

impl Surplus<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.new.is_empty()
    }
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
            // How many children end is up to them.
            if self.early_exits.try_reserve(1).is_ok() {
                self.early_exits.push((pid, ended));
            }
        }
    }

    /// How the container ended, if it did so before its pid was known.
    pub(crate) fn early_exit(&self, container: Pid) -> Option<Ended> {
        self.early_exits.iter().rev().find(|(pid, _)| *pid == container).map(|(_, ended)| *ended)
    }

    /// Holds `bytes` back; returns what must be passed on because it is too much to hold, or
    /// more than there is memory for.
    #[must_use]
    pub(crate) fn hold<'a>(&mut self, stream: Stream, bytes: &'a [u8]) -> Surplus<'a> {
        let held = self.held(stream);
        let fits = held.bytes.len() + bytes.len() <= HELD_BYTES;
        if fits && held.bytes.try_reserve(bytes.len()).is_ok() {
            held.bytes.extend_from_slice(bytes);
            return Surplus::default();
        }
        let full = std::mem::take(&mut held.bytes);
        held.passed_on = end_of(&[&held.passed_on, &full]);
        if held.bytes.try_reserve(bytes.len()).is_ok() {
            held.bytes.extend_from_slice(bytes);
            return Surplus { held: full, new: &[] };
        }
        held.passed_on = end_of(&[&held.passed_on, bytes]);
        Surplus { held: full, new: bytes }
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

/// The last bytes of `parts` as one; nothing where there is no memory for it.
fn end_of(parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut surplus = length.saturating_sub(MESSAGE_BYTES);
    let mut end = Vec::new();
    if end.try_reserve_exact(length - surplus).is_ok() {
        for part in parts {
            let skipped = surplus.min(part.len());
            surplus -= skipped;
            end.extend_from_slice(part.get(skipped..).unwrap_or_default());
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_pipeful_and_passes_the_rest_on_in_order() {
        let mut creation = Creation::default();
        assert!(creation.hold(Stream::Stdout, &[b'a'; HELD_BYTES]).is_empty());
        let surplus = creation.hold(Stream::Stdout, b"b");
        assert_eq!(surplus, Surplus { held: vec![b'a'; HELD_BYTES], new: &[] });
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
