//! What this host has, checked once, and why a case cannot run on it.

use std::path::Path;
use std::process::Command;

use semver::Version;

use super::case::Case;
use super::fact::Fact;
use crate::host::succeeds;

/// The host as far as cases depend on it.
#[derive(Clone, Debug)]
pub struct Host {
    facts: Vec<(Fact, Result<(), &'static str>)>,
    pub podman: Version,
}

fn file_has(path: &str, word: &str) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| text.split_whitespace().any(|found| found == word))
}

fn given(holds: bool, lack: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(lack) }
}

impl Host {
    /// Looks around.
    ///
    /// # Errors
    ///
    /// Podman is missing, or does not say its version.
    pub fn probe() -> Result<Self, String> {
        let systemd = crate::host::has_systemd();
        let user = succeeds("id", &["user"]) && Path::new("/run/user/1000/bus").exists();
        let facts = vec![
            (Fact::Systemd, given(systemd, "systemd is not the first process")),
            (
                Fact::Cgroup2,
                given(
                    file_has("/sys/fs/cgroup/cgroup.controllers", "memory"),
                    "no cgroup v2 with the memory controller",
                ),
            ),
            (
                Fact::Journald,
                given(
                    Path::new("/run/systemd/journal/socket").exists()
                        && succeeds("journalctl", &["-n", "0"]),
                    "journald is not running",
                ),
            ),
            (
                Fact::Rootless,
                given(systemd && user, "no ordinary user \"user\" with a session of its own"),
            ),
            (Fact::Checkpoint, crate::host::checkpoint()),
            (
                Fact::PacketFilter,
                given(succeeds("nft", &["list", "ruleset"]), "nftables do not work"),
            ),
            (Fact::Curl, given(succeeds("curl", &["--version"]), "curl is missing")),
            (Fact::Seccomp, given(crate::sys::has_seccomp(), "the kernel filters no system calls")),
        ];
        Ok(Self { facts, podman: podman_version()? })
    }

    /// Why the case cannot run here, if so.
    #[must_use]
    pub fn lacks(&self, case: &Case) -> Option<String> {
        if let Some(wanted) = &case.podman {
            if !wanted.matches(&self.podman) {
                return Some(format!("podman {} is not {wanted}", self.podman));
            }
        }
        let needs = case.needs.iter().copied().chain(case.rootless.then_some(Fact::Rootless));
        needs
            .filter_map(|need| self.facts.iter().find(|(fact, _)| *fact == need))
            .find_map(|(_, state)| state.err().map(str::to_owned))
    }

    /// What cases depend on, and why it is not there, if so.
    pub fn facts(&self) -> impl Iterator<Item = (Fact, Result<(), &'static str>)> {
        self.facts.iter().copied()
    }

    #[must_use]
    pub fn has(&self, wanted: Fact) -> bool {
        self.facts.iter().any(|(fact, state)| *fact == wanted && state.is_ok())
    }
}

fn podman_version() -> Result<Version, String> {
    let output = Command::new("podman")
        .arg("--version")
        .output()
        .map_err(|error| format!("podman: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2).and_then(|word| Version::parse(word).ok());
    version.ok_or_else(|| format!("podman --version says {text:?}"))
}
