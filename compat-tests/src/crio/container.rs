//! Making a container: what is asked for, the monitor's part, and what CRI-O makes of its report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::argv;
use super::bundle::write_bundle;
use super::launch::{self, Launched, SyncPipe};
use super::log::Log;
use super::node::Node;
use super::spec::Spec;
use super::{systemd, world};
use crate::clock::{now, until};
use crate::observe::process;
use crate::text::escape;
use crate::world::paths;

/// A container that was made.
#[derive(Clone, Debug)]
pub struct Container {
    pub name: String,
    pub id: String,
    pub bundle: PathBuf,
    pub persist: PathBuf,
    pub log: PathBuf,
    pub pid: i32,
    pub monitor: i32,
    /// Tells the monitor apart from a later process of the same pid.
    pub monitor_started: u64,
    pub tty: bool,
}

/// What came of a creation.
pub enum Creation {
    Made(Container),
    /// The error CRI-O returns.
    Failed(String),
}

impl Node {
    /// Makes and starts a container.
    ///
    /// # Errors
    ///
    /// The creation failed.
    pub fn run(&mut self, spec: &Spec) -> Result<Container> {
        let container = self.made(spec)?;
        self.start(&container)?;
        Ok(container)
    }

    /// Makes a container.
    ///
    /// # Errors
    ///
    /// The creation failed.
    pub fn made(&mut self, spec: &Spec) -> Result<Container> {
        match self.create(spec)? {
            Creation::Made(container) => Ok(container),
            Creation::Failed(reason) => bail!("{}: {reason}", spec.name),
        }
    }

    /// # Errors
    ///
    /// What the runtime said.
    pub fn start(&self, container: &Container) -> Result<()> {
        self.runtime_does(&["start", &container.id]).map(drop)
    }

    /// # Errors
    ///
    /// The world failed; a creation that did not succeed is no error.
    pub fn create(&mut self, spec: &Spec) -> Result<Creation> {
        let launched = self.launch(spec)?;
        self.finish(spec, launched)
    }

    /// Starts the monitor, which then waits for the start pipe.
    ///
    /// # Errors
    ///
    /// The world failed.
    pub fn launch(&mut self, spec: &Spec) -> Result<Launched> {
        let id = self.id(&spec.name);
        if self.systemd {
            self.facts.name(&id, "[ID]");
        }
        let (bundle, log) = (world::bundle(&spec.name), log_of(spec));
        write_bundle(self, spec)?;
        let persist_dir = world::persist_dir(&spec.name);
        fs::create_dir_all(&persist_dir)?;
        let runtime = spec.runtime.as_deref().unwrap_or(&self.runtime);
        let arguments = argv::create(&argv::Create {
            bundle: &bundle,
            id: &id,
            exit_dir: world::EXITS,
            log: &log,
            log_level: &spec.log_level,
            name: &format!("k8s_{}_pod_default_0", spec.name),
            persist_dir: &persist_dir,
            runtime,
            root: paths::RUNTIME_ROOT,
            socket_dir: world::SOCKETS,
            systemd: self.systemd,
            settings: &spec.settings,
        });
        let mut words = spec.prefix.clone();
        words.push(self.monitor.display().to_string());
        words.extend(arguments);
        launch::start(&words, &bundle, SyncPipe::Socket)
    }

    /// Places the monitor, lets it go, and takes its report.
    ///
    /// # Errors
    ///
    /// The world failed.
    pub fn finish(&mut self, spec: &Spec, mut launched: Launched) -> Result<Creation> {
        let id = self.id(&spec.name);
        if self.systemd {
            systemd::start_scope(&id, launched.pid())?;
        } else if let Some(cpus) = &spec.monitor_cpus {
            world::place_monitor(&self.cgroup, &id, launched.pid(), cpus)?;
        }
        launched.release();
        let ended = launched.wait(self.limit)?;
        let fact = |what: &str| format!("{}: {what}", spec.name);
        self.facts.note(fact("launched process"), &ended.status);
        self.facts.note(fact("says"), escape(&[ended.stdout, ended.stderr].concat()));
        self.facts.holds(fact("streams are released"), ended.streams_released);
        if ended.status != "exit status 0" {
            return self.failed(spec, &id, ended.status);
        }
        let value = match launched.read_value(self.limit) {
            Ok(value) => value,
            Err(error) => {
                let error =
                    format!("error reading container (probably exited) json message: {error}");
                return self.failed(spec, &id, error);
            }
        };
        let pid = value.get("pid").and_then(serde_json::Value::as_i64).unwrap_or_default();
        if pid == -1 {
            let message = value.get("message").and_then(|text| text.as_str()).unwrap_or_default();
            return self.failed(spec, &id, format!("container create failed: {message}"));
        }
        let keys = value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
        self.facts.must(fact("keys of the report"), keys.unwrap_or_default().join(" "), "pid");
        self.created(spec, id, i32::try_from(pid)?).map(Creation::Made)
    }

    /// What CRI-O reads as soon as it has the pid.
    fn created(&mut self, spec: &Spec, id: String, pid: i32) -> Result<Container> {
        let fact = |what: &str| format!("{}: {what}", spec.name);
        let bundle = world::bundle(&spec.name);
        self.facts.holds(fact("the process is there"), start_time(pid).is_some());
        let pid_file = fs::read_to_string(bundle.join("pidfile")).unwrap_or_default();
        self.facts.holds(fact("the pid file agrees"), pid_file == pid.to_string());
        let monitor = fs::read_to_string(bundle.join("conmon-pidfile"))
            .context("no conmon-pidfile after the report")?;
        let monitor: i32 = monitor.parse().with_context(|| format!("{monitor:?} is no pid"))?;
        let monitor_started = start_time(monitor).context("the monitor is not there")?;
        let comm = process::comm(monitor).unwrap_or_default();
        self.facts.must(fact("name of the monitor"), comm, "conmon");
        let cgroups = fs::read_to_string(format!("/proc/{monitor}/cgroup")).unwrap_or_default();
        let moved = cgroups.contains(&format!("crio-conmon-{id}"));
        let wanted = self.systemd || spec.monitor_cpus.is_some();
        self.facts.must(fact("the monitor is in a cgroup of its own"), moved, wanted);
        Ok(Container {
            name: spec.name.clone(),
            bundle,
            persist: world::persist_dir(&spec.name),
            log: log_of(spec),
            pid,
            monitor,
            monitor_started,
            tty: spec.settings.tty,
            id,
        })
    }

    /// What CRI-O does when a creation has failed.
    fn failed(&mut self, spec: &Spec, id: &str, error: String) -> Result<Creation> {
        self.facts.note(format!("{}: error", spec.name), escape(error.as_bytes()));
        let _ = fs::remove_file(log_of(spec));
        // What is not there cannot be deleted, so its status says nothing.
        self.call_runtime(&["delete", "--force", id])?;
        Ok(Creation::Failed(error))
    }

    /// Whether the monitor that was started for a container still runs.
    #[must_use]
    pub fn monitor_lives(&self, container: &Container) -> bool {
        start_time(container.monitor) == Some(container.monitor_started)
            && process::state(container.monitor) != Some('Z')
    }

    /// The log as it is now.
    #[must_use]
    pub fn log(&self, container: &Container) -> Log {
        Log::read(&container.log, self.began, now())
    }

    /// Waits until the log holds `text`.
    ///
    /// # Errors
    ///
    /// It does not come in time.
    pub fn wait_log(&self, container: &Container, text: &str) -> Result<()> {
        let has = || fs::read(&container.log).is_ok_and(|log| contains(&log, text.as_bytes()));
        if until(self.limit, has) { Ok(()) } else { bail!("`{text}` does not reach the log") }
    }
}

/// Whether `part` occurs in `whole`.
#[must_use]
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    crate::observe::streams::contains(whole, part)
}

fn log_of(spec: &Spec) -> PathBuf {
    spec.log.clone().unwrap_or_else(|| world::log(&spec.name))
}

/// Field 22 of a process's status line: when it was started, in clock ticks since boot.
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}
