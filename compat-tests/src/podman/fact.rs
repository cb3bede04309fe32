//! What a case may need of a host.

use serde::Deserialize;

/// Something a case may need.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// systemd is the first process.
    Systemd,
    /// cgroup v2 with the memory controller.
    Cgroup2,
    /// journald listens and `journalctl` reads.
    Journald,
    /// An ordinary user called `user` with its own systemd.
    Rootless,
    /// criu, and a kernel that lets it work.
    Checkpoint,
    /// `curl`, for the API.
    Curl,
    /// nftables works.
    PacketFilter,
    /// The kernel filters system calls.
    Seccomp,
}
