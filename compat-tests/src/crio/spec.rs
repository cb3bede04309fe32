//! A container to be made.

use std::path::PathBuf;

use super::argv::Settings;
use crate::world::paths;

/// What is wrong with a bundle's `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    Good,
    NoJson,
    Missing,
}

/// A container to be made.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub argv: Vec<String>,
    pub settings: Settings,
    pub memory: Option<u64>,
    /// The CPUs of the monitor, as `infra_ctr_cpuset` or a workload names them. Only with these does CRI-O move a monitor where it
    /// makes the cgroups itself.
    pub monitor_cpus: Option<String>,
    /// Shares the pids of its surroundings, as in a pod with one process namespace.
    pub shared_pids: bool,
    pub log_level: String,
    /// Another runtime than the node's.
    pub runtime: Option<PathBuf>,
    /// What is put before the monitor.
    pub prefix: Vec<String>,
    pub configuration: Configuration,
    /// Another log than the usual.
    pub log: Option<PathBuf>,
}

impl Spec {
    /// A container that runs `argv`, with everything as usual.
    #[must_use]
    pub fn new(name: &str, argv: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            settings: Settings::default(),
            memory: None,
            monitor_cpus: None,
            shared_pids: false,
            log_level: "info".to_owned(),
            runtime: None,
            prefix: Vec::new(),
            configuration: Configuration::Good,
            log: None,
        }
    }

    /// A container that runs the test program.
    #[must_use]
    pub fn payload(name: &str, verbs: &[&str]) -> Self {
        Self::new(name, &[&[paths::PAYLOAD], verbs].concat())
    }

    /// With other settings.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }
}
