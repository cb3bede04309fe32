//! Watching for the container's memory running out.
//!
//! Every failure here costs the watch, with one warning, and never the container.
//!
//! cgroup v2 announces a change of `memory.events` at once only if it has said nothing for 10 ms. What
//! happens sooner after an announcement is announced late, when the container may have ended and
//! its group be gone. So a few looks follow each announcement. The emptying of the group, too, is a
//! reason to look: it comes before the container's end can be waited for, and is what makes a
//! manager remove the group. Where the group is gone all the same, the kernel's log is asked.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::unistd::Pid;

use super::{Version, create_oom_files, directory_of, kernel_log};
use crate::diagnostics::Diagnostics;
use crate::failure::concat;
use crate::signals::Ended;
use crate::sys;
use crate::sys::poll::is_readable;

/// When to look again after an announcement, each counted from the look before. Together they are
/// longer than the kernel's silence.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

/// How long no change of `memory.events` is announced after such a series, at first. At
/// the end there is one more look: a container that lives at its limit is announced every 10 ms, and
/// must not be looked after all the time. Each rest is twice as long as the one before, as long as the
/// next announcement follows soon and nothing is killed. The emptying of the group is always announced.
const REST: Duration = Duration::from_millis(500);

/// How often a rest is doubled at most: up to 4 s.
const DOUBLINGS: u8 = 3;

/// The watch over one container's memory.
pub(crate) struct OomWatch {
    kind: Kind,
    pid: Pid,
    /// When the watch began.
    since: Duration,
    /// Where `oom` files go: the persist directory, then the bundle.
    directories: Vec<PathBuf>,
}

enum Kind {
    V1 { events: EventFd, event_control: PathBuf, oom_control: Option<File> },
    V2(V2),
}

struct V2 {
    inotify: Option<Inotify>,
    events: PathBuf,
    /// The counters that were last acted upon.
    seen: Counts,
    looks: Option<Looks>,
    /// The watch on `memory.events`; `None` while it rests.
    watch: Option<WatchDescriptor>,
    /// When the watch comes back, or the last time that it did.
    rested_at: Duration,
    /// The rests since anything else happened.
    rests: u8,
    /// The counters cannot be read any more: the group has been removed.
    gone: bool,
}

/// What is left of the looks after an announcement.
struct Looks {
    next: Duration,
    rest: std::slice::Iter<'static, Duration>,
}

impl Looks {
    /// Those after a look at `now`; `None` when there are no more.
    fn after(now: Duration, mut rest: std::slice::Iter<'static, Duration>) -> Option<Self> {
        let next = now + *rest.next()?;
        Some(Self { next, rest })
    }
}

/// The counters of memory.events that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    oom: u64,
    oom_kill: u64,
}

impl OomWatch {
    /// Begins to watch the group of process `pid`; `None` when that is not possible.
    pub(crate) fn start(pid: Pid, directories: Vec<PathBuf>, diag: &Diagnostics) -> Option<Self> {
        let version = Version::of_host();
        let group = directory_of(pid, version, diag)?;
        let kind = match version {
            Version::V1 => start_v1(&group, diag)?,
            Version::V2 => start_v2(&group, diag),
        };
        Some(Self { kind, pid, since: sys::time::monotonic(), directories })
    }

    /// What to wait for input on, if there is anything to wait for.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::V1 { events, .. } => Some(events.as_fd()),
            Kind::V2(v2) => v2.inotify.as_ref().map(Inotify::as_fd),
        }
    }

    /// When to look without being asked.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.kind {
            Kind::V1 { .. } => None,
            Kind::V2(v2) => {
                let rests = v2.inotify.is_some() && v2.watch.is_none();
                let next = v2.looks.as_ref().map(|looks| looks.next);
                next.or(rests.then_some(v2.rested_at))
            }
        }
    }

    /// Looks unasked. Returns whether the watch goes on.
    pub(crate) fn on_deadline(&mut self, now: Duration, diag: &Diagnostics) -> bool {
        let Kind::V2(v2) = &mut self.kind else { return true };
        v2.looks = v2.looks.take().and_then(|looks| Looks::after(now, looks.rest));
        v2.watch_again(now);
        v2.look(&self.directories, diag);
        true
    }

    /// Answers a ready descriptor. Returns whether the watch goes on.
    pub(crate) fn on_event(&mut self, now: Duration, diag: &Diagnostics) -> bool {
        match &mut self.kind {
            Kind::V1 { events, event_control, .. } => {
                on_v1_event(events, event_control, &self.directories, diag)
            }
            Kind::V2(v2) => {
                match v2.inotify.as_ref().map(Inotify::read_events) {
                    None | Some(Ok(_) | Err(Errno::EAGAIN | Errno::EINTR)) => {}
                    Some(Err(_)) => {
                        diag.warn("Failed to read oom event from eventfd in v2");
                        return false;
                    }
                }
                v2.look(&self.directories, diag);
                if now >= v2.rested_at && !v2.gone {
                    v2.looks = Looks::after(now, LOOKS.iter());
                    v2.rest(now);
                }
                true
            }
        }
    }

    /// Whether it has a descriptor to give up for the one that [`Self::final_check`] needs.
    pub(crate) fn has_descriptor_to_spare(&self) -> bool {
        match &self.kind {
            Kind::V1 { oom_control, .. } => oom_control.is_some(),
            Kind::V2(v2) => v2.inotify.is_some(),
        }
    }

    /// Looks once more, after the container's end: the last event may not have come through.
    /// Nothing comes after it, so first of all the descriptor to spare is given up.
    pub(crate) fn final_check(mut self, ended: Option<Ended>, diag: &Diagnostics) {
        match &mut self.kind {
            Kind::V1 { events, event_control, oom_control } => {
                *oom_control = None;
                on_v1_event(events, event_control, &self.directories, diag);
            }
            Kind::V2(v2) => {
                v2.inotify = None;
                let killed = ended == Some(Ended::Signalled(libc::SIGKILL));
                v2.look(&self.directories, diag);
                if v2.gone
                    && killed
                    && v2.seen == Counts::default()
                    && kernel_log::says_killed(self.pid, self.since)
                {
                    create_oom_files(&self.directories, diag);
                }
            }
        }
    }
}

impl V2 {
    /// Lets the kernel be silent about the counters until the looks and the rest are over.
    fn rest(&mut self, now: Duration) {
        if now >= self.rested_at + REST {
            self.rests = 0;
        }
        let pause = REST * (1 << self.rests.min(DOUBLINGS));
        self.rests = self.rests.saturating_add(1);
        self.rested_at = now + LOOKS.iter().sum::<Duration>() + pause;
        let Some(inotify) = &self.inotify else { return };
        if self.watch.is_some_and(|watch| inotify.rm_watch(watch).is_ok()) {
            self.watch = None;
            // The removal itself is announced.
            let _ = inotify.read_events();
        }
    }

    fn watch_again(&mut self, now: Duration) {
        let Some(inotify) = self.inotify.as_ref().filter(|_| now >= self.rested_at) else { return };
        if self.watch.is_none() {
            self.watch = inotify.add_watch(&self.events, AddWatchFlags::IN_MODIFY).ok();
            if self.watch.is_none() {
                self.rested_at = now + REST;
            }
        }
    }

    /// Reads the counters and marks the container if one has changed. Where they are gone there
    /// is nothing to wait for any more, but for the container's end.
    fn look(&mut self, directories: &[PathBuf], diag: &Diagnostics) {
        let before = self.seen;
        if !self.gone && !check_v2(&self.events, &mut self.seen, directories, diag) {
            (self.gone, self.inotify, self.looks, self.watch) = (true, None, None, None);
        }
        if self.seen != before {
            // Where one process is killed, others may be soon.
            self.rests = 0;
        }
    }
}

fn start_v1(group: &Path, diag: &Diagnostics) -> Option<Kind> {
    let event_control = group.join("cgroup.event_control");
    let failed = |path: &Path, error: &std::io::Error| {
        let text = concat(&[b"Failed to open ", path.as_os_str().as_encoded_bytes()]);
        diag.warn_errno(text, errno_of(error));
    };
    let mut control = match OpenOptions::new().write(true).open(&event_control) {
        Ok(file) => file,
        Err(error) => {
            failed(&event_control, &error);
            return None;
        }
    };
    let oom_control_path = group.join("memory.oom_control");
    let oom_control = match File::open(&oom_control_path) {
        Ok(file) => file,
        Err(error) => {
            failed(&oom_control_path, &error);
            return None;
        }
    };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let events = match EventFd::from_value_and_flags(0, flags) {
        Ok(events) => events,
        Err(errno) => {
            diag.warn_errno("Failed to create eventfd", errno);
            return None;
        }
    };
    // One write, or the kernel takes half a line for the whole.
    let line = format!("{} {}", events.as_fd().as_raw_fd(), oom_control.as_raw_fd());
    if let Err(error) = control.write_all(line.as_bytes()) {
        diag.warn_errno("Failed to write to cgroup.event_control", errno_of(&error));
        return None;
    }
    Some(Kind::V1 { events, event_control, oom_control: Some(oom_control) })
}

/// Returns whether the watch goes on: not after the group is gone.
fn on_v1_event(
    events: &EventFd,
    event_control: &Path,
    directories: &[PathBuf],
    diag: &Diagnostics,
) -> bool {
    // Most often the kernel has said nothing, and then nothing else is worth a look.
    if !is_readable(events.as_fd()) {
        return true;
    }
    let removed = !event_control.exists();
    let count = match events.read() {
        Ok(count) => count,
        Err(Errno::EAGAIN | Errno::EINTR) => return true,
        Err(errno) => {
            diag.warn_errno("Failed to read oom event from eventfd", errno);
            return false;
        }
    };
    if removed {
        diag.debug("Memory cgroup removal event received");
    }
    diag.debug(format!("Memory cgroup event count: {count}"));
    // The removal itself is one event.
    if removed && count == 1 {
        return false;
    }
    diag.info("OOM event received");
    create_oom_files(directories, diag);
    !removed
}

fn start_v2(group: &Path, diag: &Diagnostics) -> Kind {
    let events = group.join("memory.events");
    let mut watch = None;
    let inotify = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
        Err(errno) => {
            diag.warn_errno("Failed to create inotify fd", errno);
            None
        }
        Ok(inotify) => match inotify.add_watch(&events, AddWatchFlags::IN_MODIFY) {
            Ok(added) => {
                watch = Some(added);
                // A kernel without it, or no more watches: then the end tells.
                let _ = inotify.add_watch(&group.join("cgroup.events"), AddWatchFlags::IN_MODIFY);
                Some(inotify)
            }
            Err(errno) => {
                let path = events.as_os_str().as_encoded_bytes();
                if errno == Errno::ENOENT {
                    let end = b", skipping OOM monitoring";
                    diag.debug(concat(&[b"memory.events file does not exist at ", path, end]));
                } else {
                    diag.warn_errno(concat(&[b"Failed to add inotify watch for ", path]), errno);
                }
                None
            }
        },
    };
    let seen = Counts::default();
    let (looks, rested_at, rests, gone) = (None, Duration::ZERO, 0, false);
    Kind::V2(V2 { inotify, events, seen, looks, watch, rested_at, rests, gone })
}

fn check_v2(events: &Path, seen: &mut Counts, directories: &[PathBuf], diag: &Diagnostics) -> bool {
    let mut text = Vec::new();
    if let Err(error) = File::open(events).and_then(|mut file| file.read_to_end(&mut text)) {
        let path = events.as_os_str().as_encoded_bytes();
        diag.warn(concat(&[b"Failed to open cgroups file: ", path]));
        if error.kind() == ErrorKind::NotFound {
            diag.debug("Cgroup appears to have been removed, stopping OOM monitoring");
        }
        return false;
    }
    let now = parse_counts(&text, diag);
    let changed = |old: u64, new: u64| new != 0 && new != old;
    if (changed(seen.oom, now.oom) || changed(seen.oom_kill, now.oom_kill))
        && create_oom_files(directories, diag)
    {
        *seen = now;
    }
    true
}

fn parse_counts(text: &[u8], diag: &Diagnostics) -> Counts {
    let mut counts = Counts::default();
    for line in text.split(|byte| *byte == b'\n') {
        let (value, slot) = if let Some(value) = line.strip_prefix(b"oom ") {
            (value, &mut counts.oom)
        } else if let Some(value) = line.strip_prefix(b"oom_kill ") {
            (value, &mut counts.oom_kill)
        } else {
            continue;
        };
        match std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()) {
            Some(count) => *slot = count,
            None => diag.warn(concat(&[b"Failed to parse: ", value])),
        }
    }
    counts
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod last_look;
#[cfg(test)]
mod tests;
