//! The bundle of a container, as CRI-O writes it.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::node::Node;
use super::spec::{Configuration, Spec};
use super::world::{bundle, log};
use crate::world::bundle::{process, standard_mounts};
use crate::world::paths;

/// Writes the bundle of a container, and makes the directory of its log.
///
/// # Errors
///
/// A file cannot be written.
pub fn write_bundle(node: &Node, spec: &Spec) -> Result<()> {
    let bundle = bundle(&spec.name);
    fs::create_dir_all(&bundle)?;
    if let Some(directory) = log(&spec.name).parent() {
        fs::create_dir_all(directory)?;
    }
    let text = match spec.configuration {
        Configuration::Good => configuration(node, spec).to_string(),
        Configuration::NoJson => "{".to_owned(),
        Configuration::Missing => return Ok(()),
    };
    Ok(fs::write(bundle.join("config.json"), text)?)
}

fn configuration(node: &Node, spec: &Spec) -> Value {
    let environment = ["PATH=/bin", "HOME=/", "TERM=xterm"].map(str::to_owned);
    let id = node.id(&spec.name);
    let cgroups_path = if node.systemd {
        format!("system.slice:crio:{id}")
    } else {
        format!("/{}/crio-{id}", node.cgroup)
    };
    let mut resources = json!({});
    if let Some(memory) = spec.memory {
        resources = json!({"memory": {"limit": memory, "swap": memory}});
    }
    let kinds: &[&str] = if spec.shared_pids { &[] } else { &["pid"] };
    let kinds = [kinds, &["ipc", "uts", "mount"]].concat();
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": process(&spec.argv, &environment, None, None, spec.settings.tty),
        "root": {"path": paths::ROOTFS},
        "hostname": "container",
        "mounts": standard_mounts(),
        "linux": {
            "cgroupsPath": cgroups_path,
            "resources": resources,
            "namespaces": namespaces,
        },
    })
}
