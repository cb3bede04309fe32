//! Cases, what a host must have for them, and what is known to differ in them.

use anyhow::Result;
use semver::{Version, VersionReq};

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
    pub differs: &'static [Differs],
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

/// A fact that is known to differ, and meant to.
#[derive(Clone, Copy, Debug)]
pub struct Differs {
    pub fact: &'static str,
    pub why: &'static str,
    /// The row of our documents that says more.
    pub link: &'static str,
    /// The versions of the reference that differ.
    pub reference: &'static str,
}

impl Differs {
    /// True if the difference must show with this reference.
    #[must_use]
    pub fn applies_to(&self, reference: &Version) -> bool {
        VersionReq::parse(self.reference).is_ok_and(|wanted| wanted.matches(reference))
    }
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
    Case { area, name, why, play, runtimes: Runtimes::Real, needs: &[], differs: &[] }
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

    pub(super) const fn differs(mut self, differs: &'static [Differs]) -> Self {
        self.differs = differs;
        self
    }
}
