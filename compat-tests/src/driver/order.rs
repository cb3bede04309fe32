//! In which order what the launched process wrote, its end and the container's life came.
//!
//! The order is told by what causes what, never by the clock. A process that has begun to
//! end says so in `/proc` before the kernel closes its descriptors; so a stream that is read
//! empty while its holder does not end yet was closed, or written to, before that end. What
//! came in the very turn in which an end is noticed counts as written before it and closed
//! after it, as the kernel does for the process that ends.

use crate::observe::streams::{End, Stream};

pub(super) const ENDED: &str = "first process ended";
pub(super) const STARTED: &str = "container started";
pub(super) const GONE: &str = "container ended";

/// The order so far, for one launched process.
#[derive(Default)]
pub struct Order {
    entries: Vec<Entry>,
    pub(super) streams: [Progress; 2],
    /// How much each stream had said when the first process ended.
    pub(super) at_end: Option<[usize; 2]>,
    pub(super) started: bool,
    pub(super) container_ended: bool,
}

#[derive(Default)]
pub(super) struct Progress {
    pub(super) length: usize,
    pub(super) closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// In this order within one stretch: what is written cannot come after the close.
    Written(usize),
    Closed(usize),
    Milestone(&'static str),
}

impl Order {
    pub(super) fn note(&mut self, entry: Entry) {
        let milestone = |e: &Entry| matches!(e, Entry::Milestone(_));
        let start = self.entries.iter().rposition(milestone).map_or(0, |at| at + 1);
        let stretch = self.entries.get_mut(start..).unwrap_or_default();
        if milestone(&entry) {
            stretch.sort_unstable();
        } else if stretch.contains(&entry) {
            return;
        }
        self.entries.push(entry);
    }

    pub(super) fn take_written(&mut self, streams: [&Stream; 2]) {
        for (number, stream) in streams.into_iter().enumerate() {
            let length = stream.reads.iter().map(Vec::len).sum();
            if length > self.streams[number].length {
                self.streams[number].length = length;
                self.note(Entry::Written(number));
            }
        }
    }

    pub(super) fn take_closed(&mut self, streams: [&Stream; 2]) {
        for (number, stream) in streams.into_iter().enumerate() {
            if stream.end == End::Eof && !self.streams[number].closed {
                self.streams[number].closed = true;
                self.note(Entry::Closed(number));
            }
        }
    }

    /// The order in words; what comes after the last word from a stream is of no interest.
    pub(super) fn told(&self, streams: [&Stream; 2]) -> Vec<String> {
        const NAMES: [&str; 2] = ["stdout", "stderr"];
        let mut entries = self.entries.clone();
        while matches!(entries.last(), Some(Entry::Milestone(_))) {
            entries.pop();
        }
        let milestone = |e: &Entry| matches!(e, Entry::Milestone(_));
        let start = entries.iter().rposition(milestone).map_or(0, |at| at + 1);
        entries.get_mut(start..).unwrap_or_default().sort_unstable();
        let words = entries.iter().map(|entry| match entry {
            Entry::Written(number) => format!("{} written", NAMES[*number]),
            Entry::Closed(number) => format!("{} closed", NAMES[*number]),
            Entry::Milestone(name) => (*name).to_string(),
        });
        let open = NAMES.iter().zip(streams).filter(|(_, stream)| stream.is_open());
        words.chain(open.map(|(name, _)| format!("{name} left open"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_one_stretch_has_one_order_and_the_tail_is_cut() {
        let mut order = Order::default();
        for entry in [
            Entry::Written(1),
            Entry::Written(0),
            Entry::Written(1),
            Entry::Milestone(ENDED),
            Entry::Closed(1),
            Entry::Closed(0),
            Entry::Milestone(STARTED),
        ] {
            order.note(entry);
        }
        let streams = [&Stream::default(), &Stream::default()];
        let expected =
            ["stdout written", "stderr written", ENDED, "stdout closed", "stderr closed"];
        assert_eq!(order.told(streams), expected);
    }
}
