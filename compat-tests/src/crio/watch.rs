//! CRI-O's view of a directory: that a name was created, or written to.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// What happened, in the terms of CRI-O's library: a rename to a name creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Write,
}

/// One directory, watched from the moment this is made.
pub struct Watch {
    inotify: Inotify,
    pending: VecDeque<(Operation, String)>,
}

impl Watch {
    /// # Errors
    ///
    /// There is no such directory, or no inotify instance left.
    pub fn new(directory: &Path) -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY;
        inotify
            .add_watch(directory, flags)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
        Ok(Self { inotify, pending: VecDeque::new() })
    }

    /// The next event about `name`; those about other names are passed over but stay for those who ask for them.
    pub fn next(&mut self, name: &str) -> Option<Operation> {
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                let operation = if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    Operation::Write
                } else {
                    Operation::Create
                };
                let name = event.name.unwrap_or_default().to_string_lossy().into_owned();
                self.pending.push_back((operation, name));
            }
        }
        let at = self.pending.iter().position(|(_, pending)| pending == name)?;
        self.pending.remove(at).map(|(operation, _)| operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_creates_and_other_names_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut watch = Watch::new(directory.path()).unwrap();
        std::fs::write(path("a.tmp"), "").unwrap();
        std::fs::rename(path("a.tmp"), path("a")).unwrap();
        assert_eq!(watch.next("a"), Some(Operation::Create));
        assert_eq!(watch.next("a"), None);
        assert_eq!(watch.next("a.tmp"), Some(Operation::Create));
        std::fs::write(path("a"), "x").unwrap();
        assert_eq!(watch.next("a"), Some(Operation::Write));
    }
}
