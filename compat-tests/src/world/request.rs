//! What a run of a scenario is asked to be.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::programs::{Fault, Tools};
use crate::scenario::RuntimeKind;

/// All a run needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub scenario_path: PathBuf,
    pub scenario: String,
    pub runtime: RuntimeKind,
    pub monitor: PathBuf,
    pub tools: Tools,
    pub fault: Option<Fault>,
    /// Seconds, instead of the scenario's own.
    pub deadline: Option<f64>,
    /// Filled in by the keeper.
    pub cgroup: String,
}
