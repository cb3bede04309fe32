//! In which order what the launched process wrote, its end and the container's life came.
//!
//! The order is told by what causes what, never by the clock. A process that has begun to
//! end says so in `/proc` before the kernel closes its descriptors; so a stream that is read
//! empty while its holder does not end yet was closed, or written to, before that end. What
//! came in the very turn in which an end is noticed counts as written before it and closed
//! after it, as the kernel does for the process that ends.

use std::fs;

use super::launch::Running;
use crate::observe::streams::{End, Stream};
use crate::text::escape;

/// `PF_EXITING` in the flags of `/proc/PID/stat`. Source: `include/linux/sched.h`.
const EXITING: u32 = 0x4;

const ENDED: &str = "first process ended";
const STARTED: &str = "container started";
const GONE: &str = "container ended";

/// The order so far, for one launched process.
#[derive(Default)]
pub struct Order {
    entries: Vec<Entry>,
    streams: [Progress; 2],
    /// How much each stream had said when the first process ended.
    at_end: Option<[usize; 2]>,
    started: bool,
    container_ended: bool,
}

#[derive(Default)]
struct Progress {
    length: usize,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// In this order within one stretch: what is written cannot come after the close.
    Written(usize),
    Closed(usize),
    Milestone(&'static str),
}

impl Order {
    fn note(&mut self, entry: Entry) {
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

    fn take_written(&mut self, streams: [&Stream; 2]) {
        for (number, stream) in streams.into_iter().enumerate() {
            let length = stream.reads.iter().map(Vec::len).sum();
            if length > self.streams[number].length {
                self.streams[number].length = length;
                self.note(Entry::Written(number));
            }
        }
    }

    fn take_closed(&mut self, streams: [&Stream; 2]) {
        for (number, stream) in streams.into_iter().enumerate() {
            if stream.end == End::Eof && !self.streams[number].closed {
                self.streams[number].closed = true;
                self.note(Entry::Closed(number));
            }
        }
    }

    /// The order in words; what comes after the last word from a stream is of no interest.
    fn told(&self, streams: [&Stream; 2]) -> Vec<String> {
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

impl Running {
    /// Takes what has come, and sees how far things have gone.
    pub(super) fn follow(&mut self) {
        self.pump();
        if self.order.at_end.is_none() && is_ending(self.launched) {
            // Whatever it wrote is there by now.
            self.pump();
            self.order.take_written([&self.stdout, &self.stderr]);
            self.order.note(Entry::Milestone(ENDED));
            self.order.at_end = Some([0, 1].map(|number: usize| self.order.streams[number].length));
        }
        self.follow_container();
        self.order.take_written([&self.stdout, &self.stderr]);
        self.order.take_closed([&self.stdout, &self.stderr]);
    }

    /// With `--sync` the first process outlives the container, and nobody else holds its
    /// streams: then the container's end says nothing about them.
    fn follow_container(&mut self) {
        let order = &self.order;
        let told = order.streams.iter().all(|stream| stream.closed);
        if told || order.container_ended || !order.started || !self.call.daemonises {
            return;
        }
        if self.container.is_none() {
            self.container = self.container_pid();
        }
        if self.container.is_some_and(is_ending) {
            self.pump();
            self.order.take_written([&self.stdout, &self.stderr]);
            self.order.note(Entry::Milestone(GONE));
            self.order.container_ended = true;
        }
    }

    /// The container is about to be started, or is seen to have been.
    pub(super) fn started(&mut self) {
        self.follow();
        if !self.order.started {
            self.order.started = true;
            self.order.note(Entry::Milestone(STARTED));
        }
    }

    pub(super) fn order_told(&self) -> Vec<String> {
        self.order.told([&self.stdout, &self.stderr])
    }

    /// What a stream said after the first process had ended.
    pub(super) fn late(&self, number: usize) -> String {
        let stream = if number == 0 { &self.stdout } else { &self.stderr };
        let bytes = stream.bytes();
        let from = self.order.at_end.map_or(bytes.len(), |lengths| lengths[number]);
        escape(bytes.get(from..).unwrap_or_default())
    }
}

/// Whether a process has begun to end, or is gone.
fn is_ending(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let state = fields.get(1).copied().unwrap_or_default();
    let flags = fields.get(7).and_then(|flags| flags.parse::<u32>().ok()).unwrap_or_default();
    matches!(state, "Z" | "X") || flags & EXITING != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_not_ending() {
        assert!(!is_ending(i32::try_from(std::process::id()).unwrap()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Not reaped, so its number stays its own.
        while !is_ending(pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_ending(pid));
    }

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
