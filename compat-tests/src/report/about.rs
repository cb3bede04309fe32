//! What a report must say to be worth something later: when, where, with what.

use std::path::Path;
use std::process::Command;

use crate::clock;
use crate::host::{self, Host, cgroup};
use crate::scenario::RuntimeKind;

/// Pairs of a word and what was found, in the order they are shown.
pub type About = Vec<(&'static str, String)>;

/// Looks around.
#[must_use]
pub fn look(host: &Host) -> About {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let seconds = i64::try_from(clock::now() / 1_000_000_000).unwrap_or_default();
    let mut about = vec![
        ("date", date(seconds)),
        ("kernel", kernel.trim().to_owned()),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("cgroups", if cgroup::is_v2() { "version 2" } else { "version 1" }.to_owned()),
        ("conmon-compat", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    about.extend(programs(host));
    about.push(("command line", std::env::args().collect::<Vec<_>>().join(" ")));
    about
}

/// The versions of the programs that a run uses besides the monitors.
#[must_use]
pub fn programs(host: &Host) -> About {
    let podman = host::find("podman");
    let programs = [
        ("crun", host.runtime(RuntimeKind::Crun)),
        ("runc", host.runtime(RuntimeKind::Runc)),
        ("podman", podman.as_deref()),
    ];
    let found = programs.into_iter().filter_map(|(name, path)| Some((name, version(path?)?)));
    found.collect()
}

/// The first line of what a program says to `--version`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(format!("{} ({})", text.lines().next()?, program.display()))
}

/// Seconds since the epoch as a date and a time, UTC.
fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", clock::date(i128::from(days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
