//! The rows of the table, area by area.

mod attach;
mod create;
mod exec;
mod failure;
mod log;
mod stop;
mod systemd;
mod version;

use super::case::Case;

const AREAS: &[&[Case]] = &[
    version::CASES,
    create::CASES,
    failure::CASES,
    log::CASES,
    attach::CASES,
    exec::CASES,
    stop::CASES,
    systemd::CASES,
];

/// All cases, area by area.
#[must_use]
pub fn all() -> Vec<&'static Case> {
    AREAS.iter().copied().flatten().collect()
}
