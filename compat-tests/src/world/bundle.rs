//! What a runtime is given: the bundle, the root file system, the process of an exec session.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::paths;
use super::request::Request;
use crate::scenario::placeholder::expand;
use crate::scenario::{Container, RuntimeKind, Scenario};

/// The applets a container's shell scripts may use.
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "printf", "sleep", "true", "false", "kill", "ls", "head", "tail", "dd",
    "stty", "wc", "env", "id", "ps", "touch", "rm", "seq", "yes", "test", "readlink", "tr",
];

/// Makes the containers' root file system, without its two programs.
pub fn make_rootfs() -> Result<()> {
    let rootfs = |name: &str| format!("{}/{name}", paths::ROOTFS);
    for name in ["bin", "dev", "proc", "shared", "tmp", "etc", "run/notify"] {
        fs::create_dir_all(rootfs(name)).with_context(|| format!("cannot create {name}"))?;
    }
    fs::set_permissions(rootfs("tmp"), fs::Permissions::from_mode(0o1777))?;
    for applet in APPLETS {
        symlink("busybox", rootfs(&format!("bin/{applet}")))?;
    }
    Ok(())
}

/// The runtime itself, behind its recorder.
pub fn real_runtime(kind: RuntimeKind) -> String {
    format!("{}/real/{kind}", paths::BIN)
}

/// The arguments every call of a real runtime begins with.
pub fn runtime_arguments(kind: RuntimeKind) -> Vec<String> {
    match kind {
        RuntimeKind::Standin => Vec::new(),
        RuntimeKind::Crun | RuntimeKind::Runc => {
            vec!["--root".into(), paths::RUNTIME_ROOT.into()]
        }
    }
}

/// Writes `config.json`.
pub fn write_bundle(request: &Request, scenario: &Scenario, cid: &str) -> Result<()> {
    let container = &scenario.data.container;
    let values = paths::placeholders(request.runtime, cid, cid, None);
    let fill = |texts: &[String]| -> Result<Vec<String>> {
        texts.iter().map(|t| expand(t, &values).map_err(anyhow::Error::msg)).collect()
    };
    let mut env = vec!["PATH=/bin".to_string(), "HOME=/".into(), "TERM=xterm".into()];
    env.extend(fill(&container.env)?);
    let process = process(
        &fill(&container.argv)?,
        &env,
        container.cwd.as_deref(),
        container.user,
        container.tty,
    );
    let mut resources = json!({});
    if let Some(memory) = container.memory {
        resources = json!({"memory": {"limit": memory, "swap": memory}});
    }
    let namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({"type": kind})).collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": paths::ROOTFS},
        "hostname": "container",
        "mounts": mounts(container),
        "linux": {
            "cgroupsPath": format!("/{}/{}", request.cgroup, &cid[..cid.len().min(12)]),
            "resources": resources,
            "namespaces": namespaces,
        },
    });
    if let Some(more) = &container.oci {
        merge(&mut config, serde_json::to_value(more)?);
    }
    fs::write(format!("{}/config.json", paths::BUNDLE), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// A process as `config.json` and `exec --process` want it.
pub fn process(
    argv: &[String],
    env: &[String],
    cwd: Option<&str>,
    user: Option<u32>,
    tty: bool,
) -> Value {
    let user = user.unwrap_or(0);
    json!({
        "terminal": tty,
        "user": {"uid": user, "gid": user},
        "args": argv,
        "env": env,
        "cwd": cwd.unwrap_or("/"),
        // Raising limits needs a capability that a host may lack.
        "rlimits": [],
    })
}

fn mounts(container: &Container) -> Value {
    let mut mounts = standard_mounts();
    if container.notify {
        mounts.push(json!({"destination": "/run/notify", "type": "bind",
            "source": format!("{}/notify", paths::BUNDLE), "options": ["rbind", "rw"]}));
    }
    Value::Array(mounts)
}

pub fn standard_mounts() -> Vec<Value> {
    vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
               "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "nodev"]}),
        json!({"destination": "/shared", "type": "bind", "source": paths::SHARED,
               "options": ["rbind", "rw"]}),
    ]
}

/// Lays `more` over `base`, object by object.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}

/// Makes the directories and the process spec of an exec session.
///
/// # Errors
///
/// What could not be written.
pub fn prepare_session(
    scenario: &Scenario,
    name: &str,
    values: &BTreeMap<&'static str, String>,
) -> Result<()> {
    let Some(session) = scenario.data.exec.get(name) else { bail!("no exec session `{name}`") };
    let value = |key: &str| values.get(key).cloned().unwrap_or_default();
    for dir in [value("session_bundle"), value("exit_dir"), value("persist_dir")] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir}"))?;
    }
    let spec = match &session.spec {
        Some(text) => expand(text, values).map_err(anyhow::Error::msg)?,
        None => {
            let argv = session
                .process
                .iter()
                .map(|word| expand(word, values).map_err(anyhow::Error::msg))
                .collect::<Result<Vec<_>>>()?;
            let mut env = vec!["PATH=/bin".to_string(), "HOME=/".into(), "TERM=xterm".into()];
            env.extend(session.process_env.iter().cloned());
            process(&argv, &env, session.process_cwd.as_deref(), None, session.tty).to_string()
        }
    };
    let path = value("process_spec");
    fs::write(Path::new(&path), spec).with_context(|| format!("cannot write {path}"))
}
