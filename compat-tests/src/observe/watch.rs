//! What happens in the watched directories, in order, through one inotify instance.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

pub struct Watch {
    inotify: Inotify,
    names: BTreeMap<i32, String>,
    raw: Vec<Raw>,
}

struct Raw {
    directory: String,
    name: String,
    kind: Kind,
    cookie: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Delete,
    From,
    To,
}

impl Watch {
    pub fn new() -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, names: BTreeMap::new(), raw: Vec::new() })
    }

    pub fn add(&mut self, name: &str, path: &Path) -> nix::Result<()> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        let descriptor = self.inotify.add_watch(path, flags)?;
        self.names.insert(number(&descriptor), name.to_string());
        Ok(())
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    pub fn pump(&mut self) {
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                let kind = match event.mask {
                    m if m.contains(AddWatchFlags::IN_CREATE) => Kind::Create,
                    m if m.contains(AddWatchFlags::IN_DELETE) => Kind::Delete,
                    m if m.contains(AddWatchFlags::IN_MOVED_FROM) => Kind::From,
                    m if m.contains(AddWatchFlags::IN_MOVED_TO) => Kind::To,
                    _ => continue,
                };
                let Some(directory) = self.names.get(&number(&event.wd)) else { continue };
                self.raw.push(Raw {
                    directory: directory.clone(),
                    name: event.name.unwrap_or_default().to_string_lossy().into_owned(),
                    kind,
                    cookie: event.cookie,
                });
            }
        }
    }

    /// The events of each directory, a write-and-rename told as one.
    pub fn events(&self) -> BTreeMap<String, Vec<String>> {
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (directory, line) in self.tell() {
            told.entry(directory).or_default().push(line);
        }
        // The first process writes the monitor's pid file while the daemon goes on: nobody
        // waits for it before its end, so its place among the daemon's files is chance.
        if let Some(run) = told.get_mut("run") {
            run.sort_by_key(|line| !line.contains(" conmon.pid"));
        }
        told
    }

    /// The names that appeared in the exit and persist directories, in their order.
    pub fn exit_order(&self) -> Vec<String> {
        let appeared = |raw: &&Raw| matches!(raw.kind, Kind::To);
        let watched =
            |raw: &&Raw| raw.directory.contains("exit") || raw.directory.contains("persist");
        self.raw
            .iter()
            .filter(appeared)
            .filter(watched)
            .map(|raw| format!("{}/{}", raw.directory, stable_name(&raw.name)))
            .collect()
    }

    fn tell(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        let mut hidden = BTreeSet::new();
        for (at, raw) in self.raw.iter().enumerate() {
            if hidden.contains(&at) {
                continue;
            }
            let name = stable_name(&raw.name);
            let line = match raw.kind {
                Kind::Create => match self.moved_onto(at, raw, &mut hidden) {
                    Some(target) => format!("replace {target} by {}", temporary(&name, &target)),
                    None => format!("create {name}"),
                },
                Kind::Delete => format!("delete {name}"),
                Kind::From => match self.partner(at, raw) {
                    Some((partner, to)) => {
                        hidden.insert(partner);
                        let same = to.directory == raw.directory;
                        let directory = if same { "" } else { to.directory.as_str() };
                        let slash = if same { "" } else { "/" };
                        format!("rename {name} to {directory}{slash}{}", stable_name(&to.name))
                    }
                    None => format!("move {name} away"),
                },
                Kind::To => format!("move {name} in"),
            };
            told.push((raw.directory.clone(), line));
        }
        told
    }

    /// When a file just created is next renamed inside its directory: onto what.
    fn moved_onto(&self, at: usize, raw: &Raw, hidden: &mut BTreeSet<usize>) -> Option<String> {
        let next = self
            .raw
            .iter()
            .enumerate()
            .skip(at + 1)
            .find(|(_, other)| other.directory == raw.directory && other.name == raw.name);
        let (from, moved) = next.filter(|(_, other)| other.kind == Kind::From)?;
        let (to, target) = self.partner(from, moved)?;
        if target.directory != raw.directory {
            return None;
        }
        hidden.extend([from, to]);
        Some(stable_name(&target.name))
    }

    fn partner(&self, at: usize, raw: &Raw) -> Option<(usize, &Raw)> {
        let mut later = self.raw.iter().enumerate().skip(at + 1);
        later.find(|(_, other)| other.kind == Kind::To && other.cookie == raw.cookie)
    }
}

fn number(descriptor: &WatchDescriptor) -> i32 {
    // The number is private to nix; its Debug form is all that shows it.
    let text = format!("{descriptor:?}");
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(-1)
}

/// A temporary name told by the name it stands for.
fn temporary(name: &str, target: &str) -> String {
    match name.strip_prefix(target).and_then(|rest| rest.strip_prefix('.')) {
        Some(suffix) if suffix.len() == 6 => format!("{target}.XXXXXX"),
        _ => name.to_string(),
    }
}

/// The random part of well-known temporary names, replaced.
pub fn stable_name(name: &str) -> String {
    for prefix in ["conmon-term.", "runc-process", "conmon-"] {
        if let Some(rest) = name.strip_prefix(prefix) {
            let random = rest.len() >= 6 && rest.chars().all(|c| c.is_ascii_alphanumeric());
            if random {
                return format!("{prefix}XXXXXX");
            }
        }
    }
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_write_and_rename_as_one_and_keeps_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut watch = Watch::new().unwrap();
        watch.add("exits", directory.path()).unwrap();
        std::fs::write(path("c1.AbC123"), "0").unwrap();
        std::fs::rename(path("c1.AbC123"), path("c1")).unwrap();
        std::fs::write(path("plain"), "0").unwrap();
        std::fs::rename(path("plain"), path("other")).unwrap();
        std::fs::remove_file(path("other")).unwrap();
        watch.pump();
        assert_eq!(
            watch.events()["exits"],
            ["replace c1 by c1.XXXXXX", "replace other by plain", "delete other"]
        );
        assert_eq!(watch.exit_order(), ["exits/c1", "exits/other"]);
    }

    #[test]
    fn only_known_temporary_names_lose_their_random_part() {
        assert_eq!(stable_name("conmon-term.Ab12Cd"), "conmon-term.XXXXXX");
        assert_eq!(stable_name("ctr.log.tmp"), "ctr.log.tmp");
    }
}
