//! Which host this is, as far as it shows in observations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Host, cgroup};
use crate::scenario::RuntimeKind;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub kernel: String,
    /// 1 (or hybrid) or 2.
    pub cgroup: u8,
    pub architecture: String,
    pub runtimes: BTreeMap<RuntimeKind, Runtime>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    pub path: PathBuf,
    /// The first line of its `--version`.
    pub version: String,
}

impl Identity {
    /// Looks around.
    #[must_use]
    pub fn look(host: &Host) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let runtimes = [RuntimeKind::Crun, RuntimeKind::Runc].into_iter().filter_map(|kind| {
            let path = host.runtime(kind)?.to_owned();
            let output = Command::new(&path).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.lines().next().unwrap_or_default().to_owned();
            Some((kind, Runtime { path, version }))
        });
        Self {
            kernel: kernel.trim().to_owned(),
            cgroup: if cgroup::is_v2() { 2 } else { 1 },
            architecture: std::env::consts::ARCH.to_owned(),
            runtimes: runtimes.collect(),
        }
    }

    /// Why what `other` shows with a runtime does not hold here, if so. The kernel alone is no reason.
    #[must_use]
    pub fn differs(&self, other: &Self, kind: RuntimeKind) -> Option<String> {
        if self.cgroup != other.cgroup {
            return Some(format!(
                "it was recorded with cgroups of version {}, here they are of {}",
                other.cgroup, self.cgroup
            ));
        }
        let version = |of: &Self| of.runtimes.get(&kind).map(|runtime| runtime.version.clone());
        let (then, now) = (version(other), version(self));
        (then != now).then(|| {
            let say = |version: Option<String>| version.unwrap_or_else(|| format!("no {kind}"));
            format!("it was recorded with {}, here is {}", say(then), say(now))
        })
    }
}
