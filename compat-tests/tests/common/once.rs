//! A reference that is played once in each case, although many faults are compared with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use conmon_compat::case::{Case, Comparison, Judged, Side};
use conmon_compat::host::Host;
use conmon_compat::host::subject::Subject;
use conmon_compat::scenario::{Data, RuntimeKind};
use conmon_compat::verdict::{self, Seen};
use semver::Version;

/// What was seen of one reference, by the keys of the cases.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Arc<Mutex<Option<Seen>>>>>);

impl Memory {
    /// The same case, whose reference is remembered.
    pub fn case(self: &Arc<Self>, case: Arc<dyn Case>) -> Arc<dyn Case> {
        Arc::new(Remembered { case, memory: self.clone() })
    }

    fn place(&self, key: String) -> Result<Arc<Mutex<Option<Seen>>>> {
        let mut places = self.0.lock().ok().context("another test has failed")?;
        Ok(places.entry(key).or_default().clone())
    }
}

struct Remembered {
    case: Arc<dyn Case>,
    memory: Arc<Memory>,
}

impl Case for Remembered {
    fn name(&self) -> &str {
        self.case.name()
    }

    fn runtime(&self) -> Option<RuntimeKind> {
        self.case.runtime()
    }

    fn why(&self) -> &str {
        self.case.why()
    }

    fn lack(&self, host: &Host) -> Option<String> {
        self.case.lack(host)
    }

    fn is_for(&self, reference: &Version) -> bool {
        self.case.is_for(reference)
    }

    fn judging(&self) -> Option<&Data> {
        self.case.judging()
    }

    fn observe(&self, monitor: &Subject, side: Side, comparison: &Comparison) -> Result<Seen> {
        if side == Side::Candidate {
            return self.case.observe(monitor, side, comparison);
        }
        let place = self.memory.place(self.key())?;
        // Whoever comes meanwhile waits for what is seen.
        let mut place = place.lock().ok().context("another test has failed")?;
        if let Some(seen) = place.as_ref() {
            return Ok(seen.clone());
        }
        let seen = self.case.observe(monitor, side, comparison)?;
        // Of a weak reference something is asked once more.
        if verdict::missed(&comparison.rules(self), &seen).is_empty() {
            *place = Some(seen.clone());
        }
        Ok(seen)
    }

    fn play(&self, comparison: &Comparison) -> Result<Judged> {
        comparison.compare(self)
    }
}
