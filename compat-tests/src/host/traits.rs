//! What a reference does that its version does not tell.
//!
//! The C program's newest main prints the version of the last release, and the GLib a build uses changes what replacing a file
//! does to its mode (docs/reference-notes.md#exit-file-mode). Both decide which known divergences apply, so they are looked for.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::clock;
use crate::observe::process;

/// Seconds that what is asked of a monitor may take; it takes hundredths.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last release; what came after it still prints its number.
const LAST_RELEASE: Version = Version::new(2, 2, 1);

/// An option that the last release has and what came after it lacks.
const GONE_SINCE: &str = "--seccomp-notify-socket";

/// What decides which known divergences apply to a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traits {
    /// The release it behaves like. What came after the last release counts as the next one.
    pub level: Version,
    /// Whether a file that it replaces keeps its mode.
    pub keeps_mode: bool,
    /// How each of them came to be known.
    pub level_from: String,
    pub keeps_mode_from: String,
}

/// Something a packager knows better: `level=2.2.1`, `keeps-mode=yes`.
#[derive(Debug, Clone)]
pub enum Said {
    Level(Version),
    KeepsMode(bool),
}

impl Said {
    /// Reads it from the command line.
    ///
    /// # Errors
    ///
    /// What can be said instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("level", version)) => Version::parse(version)
                .map(Self::Level)
                .map_err(|error| format!("`{version}` is no version: {error}")),
            Some(("keeps-mode", "yes")) => Ok(Self::KeepsMode(true)),
            Some(("keeps-mode", "no")) => Ok(Self::KeepsMode(false)),
            _ => Err("one of level=VERSION, keeps-mode=yes, keeps-mode=no".into()),
        }
    }
}

impl Traits {
    /// What the version alone tells.
    #[must_use]
    pub fn of_version(version: &Version) -> Self {
        Self {
            level: Version { build: semver::BuildMetadata::EMPTY, ..version.clone() },
            keeps_mode: false,
            level_from: "its version".into(),
            keeps_mode_from: "not asked".into(),
        }
    }

    /// Asks a monitor.
    #[must_use]
    pub fn ask(subject: &Subject) -> Self {
        let mut traits = Self::of_version(&subject.version);
        if traits.level == LAST_RELEASE {
            let help = output(Command::new(&subject.path).arg("--help"));
            let lacks = |help: &String| !help.trim().is_empty() && !help.contains(GONE_SINCE);
            if help.as_ref().is_some_and(lacks) {
                traits.level.patch += 1;
                traits.level_from = format!("its --help lacks {GONE_SINCE}");
            } else {
                traits.level_from = format!("its version, and its --help has {GONE_SINCE}");
            }
        }
        match replaces_keeping_mode(&subject.path) {
            Some(keeps) => {
                traits.keeps_mode = keeps;
                traits.keeps_mode_from = "tried with a pid file".into();
            }
            None => traits.keeps_mode_from = "it wrote no pid file when tried".into(),
        }
        traits
    }

    /// The same, but for what a packager says.
    #[must_use]
    pub fn but(mut self, said: &[Said]) -> Self {
        for word in said {
            match word {
                Said::Level(level) => {
                    self.level = level.clone();
                    self.level_from = "as said".into();
                }
                Said::KeepsMode(keeps) => {
                    self.keeps_mode = *keeps;
                    self.keeps_mode_from = "as said".into();
                }
            }
        }
        self
    }
}

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keeps = if self.keeps_mode { "keeps" } else { "does not keep" };
        write!(
            f,
            "taken for {} ({}); it {keeps} the mode of a file it replaces ({})",
            self.level, self.level_from, self.keeps_mode_from
        )
    }
}

/// Has a monitor write its pid file over one of mode 0600. Nothing when it writes none.
fn replaces_keeping_mode(monitor: &Path) -> Option<bool> {
    let directory = Scratch::new()?;
    let bundle = &directory.0;
    let pid_file = bundle.join("pid");
    std::fs::write(&pid_file, "").ok()?;
    std::fs::set_permissions(&pid_file, std::fs::Permissions::from_mode(0o600)).ok()?;
    let mut command = Command::new(monitor);
    command
        .args(["--api-version", "1", "--cid", "probe", "--cuuid", "probe", "--full-attach"])
        .args(["--runtime", "/bin/false", "--log-level", "error", "--bundle"])
        .arg(bundle)
        .arg("--conmon-pidfile")
        .arg(&pid_file)
        .arg("--log-path")
        .arg(format!("k8s-file:{}", bundle.join("log").display()))
        .current_dir(bundle);
    output(&mut command)?;
    // The caller's process ends when the file is there.
    let written = std::fs::metadata(&pid_file).ok().filter(|file| file.len() > 0)?;
    let pid = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid {
        // Its process is the first one's to reap, which may take seconds.
        clock::until(PATIENCE, || matches!(process::state(pid), None | Some('Z' | 'X')));
    }
    Some(written.permissions().mode() & 0o777 == 0o600)
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Option<Self> {
        let name = format!("conmon-compat-probe-{}-{}", std::process::id(), clock::now());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a program prints; nothing when it does not end in time, and then its group is killed.
fn output(command: &mut Command) -> Option<String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let mut child = child;
    let ended = clock::until(PATIENCE, || matches!(child.try_wait(), Ok(Some(_))));
    if !ended {
        end(&mut child);
        return None;
    }
    let output = child.wait_with_output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn end(child: &mut Child) {
    if let Ok(group) = child.id().try_into() {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(directory: &Path, version: &str, help: &str) -> Subject {
        let path = directory.join("conmon");
        let text = format!("#!/bin/sh\ncase $1 in --help) echo '{help}';; esac\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Subject { path, version: Version::parse(version).unwrap(), label: version.into() }
    }

    #[test]
    fn what_came_after_the_last_release_is_known_by_what_it_lacks() {
        let directory = tempfile::tempdir().unwrap();
        for (version, help, level) in [
            ("2.2.1", "--seccomp-notify-socket", "2.2.1"),
            ("2.2.1", "--full-attach", "2.2.2"),
            ("2.2.1", "", "2.2.1"),
            ("2.1.6", "--full-attach", "2.1.6"),
        ] {
            let traits = Traits::ask(&subject(directory.path(), version, help));
            assert_eq!(traits.level.to_string(), level, "{version} {help}: {traits}");
            assert!(traits.keeps_mode_from.contains("no pid file"), "{traits}");
        }
    }

    #[test]
    fn a_packager_knows_better() {
        let said = ["level=2.2.2", "keeps-mode=yes"].map(|text| Said::parse(text).unwrap());
        let traits = Traits::of_version(&LAST_RELEASE).but(&said);
        assert_eq!((traits.level.to_string().as_str(), traits.keeps_mode), ("2.2.2", true));
        assert!(Said::parse("keeps-mode=perhaps").is_err() && Said::parse("level=x").is_err());
    }
}
