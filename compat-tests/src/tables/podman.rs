//! Podman's table: its cases, and the worlds they are played in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use crate::case::{self, Comparison, Judged, Side, Table};
use crate::host::subject::Subject;
use crate::host::{Finding, Host};
use crate::podman::case::{Case, read_all};
use crate::podman::fact::Fact;
use crate::podman::host::Host as PodmanHost;
use crate::podman::outcome::seen;
use crate::podman::script::End;
use crate::podman::world::{self, Owner, Plan, World};
use crate::scenario::RuntimeKind;
use crate::verdict::Seen;

pub const NAME: &str = "podman";

/// What all cases share; made when the first of them needs it, and removed with the last of them.
struct Shared {
    /// The directory of the cases, with `prelude.sh`.
    directory: PathBuf,
    /// The first that works is used.
    runtimes: Vec<String>,
    host: OnceLock<Result<PodmanHost, String>>,
    ground: OnceLock<Result<Ground, String>>,
}

/// What worlds are made of, and those that nobody is using; making one takes longer than a case.
struct Ground {
    plan: Plan,
    run_directory: PathBuf,
    idle: Mutex<Vec<Worlds>>,
    made: AtomicUsize,
}

/// The worlds of one player, by monitor and owner.
#[derive(Default)]
struct Worlds {
    number: usize,
    of: HashMap<(Side, bool), World>,
}

struct Played {
    case: Case,
    name: String,
    shared: Arc<Shared>,
}

/// All cases of a directory. They are played with the first of the real `runtimes` that works.
///
/// # Errors
///
/// What is wrong in a file.
pub fn table(directory: &Path, runtimes: &[RuntimeKind]) -> Result<Table> {
    let real = runtimes.iter().filter(|kind| **kind != RuntimeKind::Standin);
    let runtimes: Vec<String> = real.map(ToString::to_string).collect();
    let mut cases: Vec<Arc<dyn case::Case>> = Vec::new();
    if !runtimes.is_empty() {
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            runtimes,
            host: OnceLock::new(),
            ground: OnceLock::new(),
        });
        for case in read_all(directory).map_err(Error::msg)? {
            let name = format!("{NAME}/{}", case.id());
            cases.push(Arc::new(Played { case, name, shared: shared.clone() }));
        }
    }
    Ok(Table { name: NAME, cases, jobs_per_processor: 2 })
}

impl Shared {
    fn host(&self) -> Result<&PodmanHost, String> {
        self.host.get_or_init(PodmanHost::probe).as_ref().map_err(Clone::clone)
    }

    fn ground(&self, comparison: &Comparison) -> Result<&Ground> {
        let made = self
            .ground
            .get_or_init(|| Ground::new(self, comparison).map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|reason| Error::msg(reason.clone()))
    }
}

/// What worlds are made of here, with the first of the runtimes that Podman can use.
///
/// # Errors
///
/// None of them lets a container live.
fn plan(host: &PodmanHost, runtimes: &[String], monitor: &Path, rootfs: PathBuf) -> Result<Plan> {
    let plan = Plan {
        runtime: String::new(),
        systemd: host.has(Fact::Systemd),
        journald: host.has(Fact::Journald),
        rootfs,
        prelude: String::new(),
        keep: false,
        seccomp: host.has(Fact::Seccomp),
        // The kernel may lack the packet filter that published ports would take.
        more_configuration: if host.podman.major >= 5 && !host.has(Fact::PacketFilter) {
            "[network]\nfirewall_driver = \"none\"\n"
        } else {
            ""
        },
    };
    let runtime = world::choose_runtime(host, runtimes, &plan, monitor);
    let runtime =
        runtime.map_err(|reasons| Error::msg(format!("no runtime works here:\n{reasons}")))?;
    Ok(Plan { runtime, ..plan })
}

/// What cases of the table depend on.
pub fn findings(host: &PodmanHost) -> Vec<Finding> {
    let found = host.facts().map(|(fact, found)| Finding {
        what: format!("for Podman's table: {}", format!("{fact:?}").to_lowercase()),
        found: found.map(|()| "yes".to_owned()).map_err(str::to_owned),
    });
    found.collect()
}

/// Makes the directory of a run and what all its worlds are made of.
fn prepare(host: &PodmanHost, runtimes: &[String], monitor: &Path) -> Result<(PathBuf, Plan)> {
    let directory = world::run_directory()?;
    let rootfs = world::make_rootfs(&directory).map_err(Error::from);
    let plan = rootfs.and_then(|rootfs| plan(host, runtimes, monitor, rootfs));
    if plan.is_err() {
        remove(&directory);
    }
    Ok((directory, plan?))
}

fn remove(directory: &Path) {
    let _best_effort = std::fs::remove_dir_all(directory);
}

/// Has Podman lead a container's life with this monitor; which runtime it could use.
///
/// # Errors
///
/// Why Podman can use none.
pub fn probe(host: &PodmanHost, monitor: &Path, runtimes: &[RuntimeKind]) -> Result<String> {
    let runtimes: Vec<String> = runtimes.iter().map(ToString::to_string).collect();
    let (directory, plan) = prepare(host, &runtimes, monitor)?;
    remove(&directory);
    Ok(plan.runtime)
}

impl Ground {
    /// Removes what killed runs have left, and makes what all worlds share.
    fn new(shared: &Shared, comparison: &Comparison) -> Result<Self> {
        let host = shared.host().map_err(Error::msg)?;
        let case::Source::Run(reference) = &comparison.reference else {
            bail!("Podman's table is not recorded")
        };
        let prelude = shared.directory.join("prelude.sh");
        let prelude =
            std::fs::read_to_string(&prelude).with_context(|| prelude.display().to_string())?;
        world::sweep();
        let (run_directory, plan) = prepare(host, &shared.runtimes, &reference.path)?;
        let plan = Plan { prelude, keep: comparison.keep_worlds, ..plan };
        Ok(Self { plan, run_directory, idle: Mutex::default(), made: AtomicUsize::new(0) })
    }

    fn take_worlds(&self) -> Worlds {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| Worlds {
            number: self.made.fetch_add(1, Ordering::Relaxed),
            of: HashMap::new(),
        })
    }

    fn play(&self, case: &Case, side: Side, monitor: &Path, worlds: &mut Worlds) -> Result<Seen> {
        let owner = if case.rootless { Owner::User } else { Owner::Root };
        let world = match worlds.of.entry((side, case.rootless)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // Both sides' names are of one length, so that nothing shifts in what Podman prints.
                let side = if side == Side::Reference { "ref" } else { "can" };
                let user = if case.rootless { "-user" } else { "" };
                let name = format!("{}{side}{user}", worlds.number);
                entry.insert(World::new(&self.plan, monitor, &name, owner)?)
            }
        };
        let text = format!("{}\n{}", self.plan.prelude, case.run);
        let finished = world.run(&text, Duration::from_secs(case.timeout_s))?;
        if finished.end == End::Stopped {
            bail!("interrupted");
        }
        let left = world.tidy()?;
        Ok(seen(case, &finished, left, world.directory(), monitor))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
        let _best_effort = std::fs::remove_dir_all(&self.run_directory);
    }
}

impl case::Case for Played {
    fn name(&self) -> &str {
        &self.name
    }

    fn why(&self) -> &str {
        &self.case.why
    }

    fn story(&self) -> Result<String> {
        let Case { why, run, expect, .. } = &self.case;
        let expected: String = expect.iter().map(|line| format!("  {line}\n")).collect();
        Ok(format!(
            "{}\n  {why}\n\nin bash, after prelude.sh:\n\n{run}\nexpected among its lines:\n\n{expected}",
            self.name
        ))
    }

    fn lack(&self, _host: &Host) -> Option<String> {
        self.shared.host().map_or_else(Some, |host| host.lacks(&self.case))
    }

    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen> {
        let ground = self.shared.ground(comparison)?;
        let mut worlds = ground.take_worlds();
        let seen = ground.play(&self.case, side, &monitor.path, &mut worlds)?;
        // Worlds in which something broke are not used again.
        if let Ok(mut idle) = ground.idle.lock() {
            idle.push(worlds);
        }
        Ok(seen)
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        comparison.compare(self)
    }
}
