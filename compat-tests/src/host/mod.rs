//! What this host offers, and which scenarios it cannot run.

pub mod cgroup;
pub mod exhaustion;
pub mod identity;
pub mod subject;
pub mod traits;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scenario::{Need, RuntimeKind, Scenario};

/// One thing looked for, and what was found.
pub struct Finding {
    pub what: String,
    pub found: Result<String, String>,
}

/// The abilities of a host, looked up once.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub crun: Option<PathBuf>,
    pub runc: Option<PathBuf>,
    lacking: Vec<(Need, String)>,
}

impl Host {
    /// Looks around.
    pub fn look() -> Self {
        let mut lacking = Vec::new();
        let mut lack = |need: Need, missing: bool, reason: &str| {
            if missing {
                lacking.push((need, reason.to_string()));
            }
        };
        lack(Need::MemoryCgroup, !cgroup::has_memory(), "no memory controller");
        lack(Need::CgroupV1, cgroup::is_v2(), "the host has the unified cgroup hierarchy");
        lack(Need::CgroupV2, !cgroup::is_v2(), "the host has version 1 cgroups");
        lack(
            Need::SysResource,
            !has_capability(crate::sys::CAP_SYS_RESOURCE),
            "no CAP_SYS_RESOURCE",
        );
        let checkpoint = checkpoint();
        lack(Need::Criu, checkpoint.is_err(), checkpoint.err().unwrap_or_default());
        Self { crun: find("crun"), runc: find("runc"), lacking }
    }

    /// Why a scenario cannot run here, if so.
    pub fn obstacle(&self, scenario: &Scenario, runtime: RuntimeKind) -> Option<String> {
        let missing = match runtime {
            RuntimeKind::Crun => self.crun.is_none(),
            RuntimeKind::Runc => self.runc.is_none(),
            RuntimeKind::Standin => false,
        };
        if missing {
            return Some(format!("{runtime} is not installed"));
        }
        let needs = &scenario.data.needs;
        let lack = self.lacking.iter().find(|(need, _)| needs.contains(need));
        lack.map(|(_, reason)| reason.clone())
    }

    pub fn runtime(&self, kind: RuntimeKind) -> Option<&Path> {
        match kind {
            RuntimeKind::Crun => self.crun.as_deref(),
            RuntimeKind::Runc => self.runc.as_deref(),
            RuntimeKind::Standin => None,
        }
    }

    /// What to tell a person about this host.
    pub fn findings(&self) -> Vec<Finding> {
        let program = |name: &str, path: &Option<PathBuf>| Finding {
            what: name.to_string(),
            found: path.as_ref().map(|p| p.display().to_string()).ok_or("not in PATH".into()),
        };
        let root = nix::unistd::geteuid().is_root();
        let mut findings = vec![
            Finding {
                what: "root".into(),
                found: if root {
                    Ok("yes".into())
                } else {
                    Err("worlds need namespaces and mounts: run as root".into())
                },
            },
            program("crun", &self.crun),
            program("runc", &self.runc),
            Finding { what: "busybox".into(), found: busybox().map(|p| p.display().to_string()) },
            Finding {
                what: "cgroups".into(),
                found: Ok(if cgroup::is_v2() { "version 2" } else { "version 1" }.into()),
            },
        ];
        for (need, what) in [
            (Need::MemoryCgroup, "memory controller"),
            (Need::SysResource, "CAP_SYS_RESOURCE"),
            (Need::Criu, "criu"),
        ] {
            let lack = self.lacking.iter().find(|(lacking, _)| *lacking == need);
            findings.push(Finding {
                what: what.into(),
                found: lack.map_or(Ok("yes".into()), |(_, reason)| Err(reason.clone())),
            });
        }
        findings
    }
}

/// Whether a program can be started and succeeds.
#[must_use]
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether containers can be written to files and brought back.
///
/// # Errors
///
/// Why not.
pub fn checkpoint() -> Result<(), &'static str> {
    // What the kernel offers for it, of which this file is the easiest to see.
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        return Err("the kernel is built without CONFIG_CHECKPOINT_RESTORE");
    }
    match succeeds("criu", &["check"]) {
        true => Ok(()),
        false => Err("criu is missing or the kernel does not allow it"),
    }
}

/// Whether systemd is the first process.
#[must_use]
pub fn has_systemd() -> bool {
    std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim_end() == "systemd")
}

/// The busybox for the containers, which hold no library.
///
/// # Errors
///
/// Says what to install.
pub fn busybox() -> Result<PathBuf, String> {
    const WANTED: &str = "install busybox-static (Debian) or busybox (Fedora)";
    let path = find("busybox").ok_or_else(|| format!("not in PATH: {WANTED}"))?;
    let image = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if needs_loader(&image) {
        return Err(format!("{} is not static: {WANTED}", path.display()));
    }
    Ok(path)
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` segment. Source: elf(5).
fn needs_loader(image: &[u8]) -> bool {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = image.get(at..at + length)?;
        bytes.iter().rev().try_fold(0_usize, |all, byte| Some((all << 8) | usize::from(*byte)))
    };
    if image.get(..6) != Some(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return false;
    };
    (0..count).any(|entry| number(table.saturating_add(entry * size), 4) == Some(3))
}

/// Finds a program in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|file| {
        nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
    })
}

fn has_capability(number: u64) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok())
        .is_some_and(|bits| bits & (1 << number) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_whether_a_program_needs_a_loader() {
        // Cargo links tests dynamically.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs_loader(&own), !cfg!(target_feature = "crt-static"));
        assert!(!needs_loader(b"#!/bin/sh\n"));
        assert!(!needs_loader(b""));
    }
}
