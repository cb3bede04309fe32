//! Cases, what a host must have for them, and what is known to differ in them.

use anyhow::Result;

use super::node::Node;

/// One row of the table. It is code, so the rows are listed where they are written.
pub struct Case {
    pub area: &'static str,
    /// A sentence about behaviour, in words joined by hyphens.
    pub name: &'static str,
    /// What CRI-O or its users would lose if it did not hold.
    pub why: &'static str,
    pub play: fn(&mut Node) -> Result<()>,
    pub runtimes: Runtimes,
    pub needs: &'static [Need],
}

/// The runtimes a case is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtimes {
    /// crun and runc.
    Real,
    /// The stand-in, for what no runtime here can do.
    Standin,
    /// None: no container is made.
    None,
}

/// Something a host may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Containers can be given a memory limit.
    Memory,
    /// systemd is the first process.
    Systemd,
}

impl Case {
    /// Area and name, by which a case is chosen and reported.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.area, self.name)
    }
}

/// A case played with crun and runc; areas change the rest.
pub(super) const fn case(
    area: &'static str,
    name: &'static str,
    why: &'static str,
    play: fn(&mut Node) -> Result<()>,
) -> Case {
    Case { area, name, why, play, runtimes: Runtimes::Real, needs: &[] }
}

impl Case {
    pub(super) const fn with(mut self, runtimes: Runtimes) -> Self {
        self.runtimes = runtimes;
        self
    }

    pub(super) const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }
}
