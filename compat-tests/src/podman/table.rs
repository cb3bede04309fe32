//! The table at work: what all cases share, the worlds they are played in, and the verdicts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use semver::Version;

use super::case::{Case, Differs};
use super::fact::Fact;
use super::host::{self, Host};
use super::outcome::{self, Outcome};
use super::report::{Row, Verdict};
use super::script::End;
use super::world::{self, Owner, Plan, World};

/// Two monitors, ready to be compared case by case, from any number of threads.
pub struct Table {
    pub host: Host,
    pub plan: Plan,
    pub reference: PathBuf,
    pub candidate: PathBuf,
    pub reference_version: Version,
    pub candidate_version: Version,
    run_directory: PathBuf,
    /// Worlds nobody is using; making one takes longer than a case.
    idle: Mutex<Vec<Worlds>>,
    made: AtomicUsize,
}

/// The worlds of one player, by side and owner.
#[derive(Default)]
struct Worlds {
    number: usize,
    of: HashMap<(&'static str, bool), World>,
}

/// What a run is told from outside.
pub struct Settings<'a> {
    pub reference: &'a Path,
    pub candidate: &'a Path,
    /// The first that works is used.
    pub runtimes: &'a [String],
    /// The directory of the cases, with `prelude.sh`.
    pub cases: &'a Path,
    pub keep: bool,
}

impl Table {
    /// Removes what killed runs have left, and makes what all worlds share.
    ///
    /// # Errors
    ///
    /// We are not root, a monitor does not say its version, a file is missing, or no runtime works.
    pub fn new(host: Host, settings: &Settings) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("must run as root".to_owned());
        }
        let reference_version = host::monitor_version(settings.reference)?;
        let candidate_version = host::monitor_version(settings.candidate)?;
        let prelude = settings.cases.join("prelude.sh");
        let prelude = std::fs::read_to_string(&prelude)
            .map_err(|error| format!("{}: {error}", prelude.display()))?;
        world::sweep();
        let run_directory = world::run_directory().map_err(|error| error.to_string())?;
        let plan = Plan {
            runtime: String::new(),
            systemd: host.has(Fact::Systemd),
            journald: host.has(Fact::Journald),
            rootfs: world::make_rootfs(&run_directory).map_err(|error| error.to_string())?,
            prelude,
            keep: settings.keep,
            // The kernel may lack the packet filter that published ports would take.
            more_configuration: if host.podman.major >= 5 && !host.has(Fact::PacketFilter) {
                "[network]\nfirewall_driver = \"none\"\n"
            } else {
                ""
            },
        };
        let mut table = Self {
            host,
            plan,
            reference: settings.reference.to_owned(),
            candidate: settings.candidate.to_owned(),
            reference_version,
            candidate_version,
            run_directory,
            idle: Mutex::default(),
            made: AtomicUsize::new(0),
        };
        table.plan.runtime =
            world::choose_runtime(&table.host, settings.runtimes, &table.plan, &table.reference)
                .map_err(|reasons| format!("no runtime works here:\n{reasons}"))?;
        Ok(table)
    }

    /// Plays one case with both monitors.
    pub fn play(&self, case: &Case) -> Row {
        let started = Instant::now();
        let mut row = Row {
            case: case.id(),
            why: case.why.clone(),
            seconds: 0.0,
            verdict: Verdict::Same,
            reference: None,
            candidate: None,
        };
        if let Some(reason) = self.host.lacks(case) {
            row.verdict = Verdict::Skipped { reason };
            return row;
        }
        let mut worlds = self.take_worlds();
        let outcomes = self.reference_outcome(case, &mut worlds).and_then(|reference| {
            self.outcome(case, "candidate", &self.candidate, &mut worlds)
                .map(|candidate| (reference, candidate))
        });
        row.seconds = started.elapsed().as_secs_f64();
        match outcomes {
            Err(error) => row.verdict = Verdict::Broken { reason: error.to_string() },
            Ok((reference, candidate)) => {
                row.verdict = self.judge(case, &reference, &candidate);
                row.reference = Some(reference);
                row.candidate = Some(candidate);
                if let Ok(mut idle) = self.idle.lock() {
                    idle.push(worlds);
                }
            }
        }
        row
    }

    fn take_worlds(&self) -> Worlds {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| Worlds {
            number: self.made.fetch_add(1, Ordering::Relaxed),
            of: HashMap::new(),
        })
    }

    /// The reference's outcome. One that loses output once in hundreds of runs says nothing about the candidate: if it does not
    /// do what the case says, it is asked once more. The candidate never is.
    fn reference_outcome(&self, case: &Case, worlds: &mut Worlds) -> io::Result<Outcome> {
        let outcome = self.outcome(case, "reference", &self.reference, worlds)?;
        let missing = outcome.misses(case);
        if self.known(case).is_some() || missing.is_empty() {
            return Ok(outcome);
        }
        eprintln!("{}: the reference missed {missing:?}; once more", case.id());
        self.outcome(case, "reference", &self.reference, worlds)
    }

    /// The difference that must show with this reference.
    fn known<'c>(&self, case: &'c Case) -> Option<&'c Differs> {
        case.differs.as_ref().filter(|differs| differs.applies_to(Some(&self.reference_version)))
    }

    fn outcome(
        &self,
        case: &Case,
        side: &'static str,
        monitor: &Path,
        worlds: &mut Worlds,
    ) -> io::Result<Outcome> {
        let owner = if case.rootless { Owner::User } else { Owner::Root };
        let world = match worlds.of.entry((side, case.rootless)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // Both sides' names are of one length, so that nothing shifts in what Podman prints.
                let side = if side == "reference" { "ref" } else { "can" };
                let user = if case.rootless { "-user" } else { "" };
                let name = format!("{}{side}{user}", worlds.number);
                entry.insert(World::new(&self.plan, monitor, &name, owner)?)
            }
        };
        let text = format!("{}\n{}", self.plan.prelude, case.run);
        let finished = world.run(&text, Duration::from_secs(case.timeout_s))?;
        if finished.end == End::Stopped {
            return Err(io::Error::other("interrupted"));
        }
        let left = world.tidy()?;
        Ok(Outcome::new(case, &finished, left, world.directory(), monitor))
    }

    fn judge(&self, case: &Case, reference: &Outcome, candidate: &Outcome) -> Verdict {
        // A monitor compared with itself differs in nothing; what it does wrong is not the question.
        if self.reference == self.candidate && case.differs.is_some() {
            let diff = outcome::difference(reference, candidate);
            return if diff.is_empty() { Verdict::Same } else { Verdict::Different { diff } };
        }
        let known = self.known(case);
        // Where the reference is known to be wrong, only ours has to do what the case says.
        let sides = [("reference", reference), ("candidate", candidate)];
        for (monitor, outcome) in sides.into_iter().skip(usize::from(known.is_some())) {
            let missing: Vec<String> =
                outcome.misses(case).into_iter().map(str::to_owned).collect();
            if !missing.is_empty() {
                return Verdict::NotAsExpected { monitor, missing };
            }
        }
        let diff = outcome::difference(reference, candidate);
        match known {
            Some(differs) if diff.is_empty() => Verdict::Stale { why: differs.why.clone() },
            Some(differs) => {
                Verdict::DiffersAsKnown { why: differs.why.clone(), link: differs.link.clone() }
            }
            None if diff.is_empty() => Verdict::Same,
            None => Verdict::Different { diff },
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
        let _best_effort = std::fs::remove_dir_all(&self.run_directory);
    }
}
