//! Follows a running monitor: its streams, and the milestones of [`super::order`].

use std::fs;

use super::launch::Running;
use super::order::{ENDED, Entry, GONE, STARTED};
use crate::text::escape;

/// `PF_EXITING` in the flags of `/proc/PID/stat`. Source: `include/linux/sched.h`.
const EXITING: u32 = 0x4;

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
}
