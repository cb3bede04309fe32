//! What a run of a case is asked to be.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::scenario::RuntimeKind;
use crate::world::programs::{Fault, Tools};

/// All a player needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub case: String,
    pub runtime: RuntimeKind,
    pub monitor: PathBuf,
    pub tools: Tools,
    pub fault: Option<Fault>,
    /// Seconds a single wait may take.
    pub limit_s: u64,
    /// The node is in the host's pid namespace and sees its systemd. The keeper knows this key.
    pub host_pids: bool,
    /// Filled in by the keeper.
    pub cgroup: String,
}
