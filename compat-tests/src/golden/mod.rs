//! What a reference once did, as a file: a line that says who and where, then a line for each case.
//!
//! `docs/compat.md` describes the form. A record speaks only for the text of the scenario and for the runtime it was made with;
//! for others it is void, and never compared.

mod file;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::host::identity::Identity;
use crate::host::traits::Traits;
use crate::observation::Observation;
use crate::scenario::RuntimeKind;

/// Changes with every change of the form that an older program would misread.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    pub monitor: Monitor,
    /// The revision of the scenarios.
    pub suite: String,
    /// Of the recording, `YYYY-MM-DD` in UTC.
    pub date: String,
    pub host: Identity,
    pub records: usize,
    /// Of all lines but this one, with their newlines.
    pub checksum: String,
}

/// Who was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Monitor {
    pub version: semver::Version,
    pub label: String,
    pub traits: Traits,
}

/// A line: one case with one runtime.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub case: String,
    pub runtime: RuntimeKind,
    /// Of what makes the observation: [`crate::scenario::Scenario::fingerprint`].
    pub fingerprint: String,
    pub seen: Box<RawValue>,
}

/// Everything recorded of one monitor.
pub struct Golden {
    pub header: Header,
    records: BTreeMap<(String, RuntimeKind), Record>,
    /// Why no record of a runtime speaks for this host.
    strange: BTreeMap<RuntimeKind, String>,
}

impl Record {
    /// # Errors
    ///
    /// An observation that cannot be written as JSON.
    pub fn new(
        case: &str,
        runtime: RuntimeKind,
        fingerprint: &str,
        seen: &impl Serialize,
    ) -> Result<Self> {
        let seen = serde_json::value::to_raw_value(seen)?;
        Ok(Self { case: case.into(), runtime, fingerprint: fingerprint.into(), seen })
    }
}

impl Golden {
    /// Reads a file for a host.
    ///
    /// # Errors
    ///
    /// A damaged file, one of another form or of another architecture, in one line.
    pub fn read(path: &Path, here: &Identity) -> Result<Self> {
        Self::understand(path, here).with_context(|| format!("golden file {}", path.display()))
    }

    fn understand(path: &Path, here: &Identity) -> Result<Self> {
        let text = file::read(path)?;
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let form: serde_json::Value =
            serde_json::from_str(first).context("damaged: its first line is no JSON")?;
        match form.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => bail!("of format {format}; this program reads {FORMAT}"),
            None => bail!("damaged: its first line names no format"),
        }
        let header: Header =
            serde_json::from_value(form).context("damaged: its first line is no header")?;
        if header.host.architecture != here.architecture {
            bail!("recorded on {}; this host is {}", header.host.architecture, here.architecture);
        }
        if file::checksum(rest) != header.checksum {
            let (lines, all) = (rest.lines().count(), header.records);
            bail!("damaged: {lines} of {all} records, and not those that were written");
        }
        let mut records = BTreeMap::new();
        for line in rest.lines() {
            let record: Record = serde_json::from_str(line).context("damaged: a bad record")?;
            records.insert((record.case.clone(), record.runtime), record);
        }
        let strange = [RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin]
            .into_iter()
            .filter_map(|kind| Some((kind, here.differs(&header.host, kind)?)))
            .collect();
        Ok(Self { header, records, strange })
    }

    /// Why a case is not compared, if so.
    #[must_use]
    pub fn void(&self, case: &str, runtime: RuntimeKind, fingerprint: &str) -> Option<String> {
        let Some(record) = self.records.get(&(case.to_owned(), runtime)) else {
            return Some("it was not recorded".into());
        };
        if record.fingerprint != fingerprint {
            return Some("the scenario has changed since it was recorded".into());
        }
        self.strange.get(&runtime).cloned()
    }

    /// What was recorded of a case.
    ///
    /// # Errors
    ///
    /// Nothing was, or not what this program understands.
    pub fn seen(&self, case: &str, runtime: RuntimeKind) -> Result<Observation> {
        let record =
            self.records.get(&(case.to_owned(), runtime)).context("it was not recorded")?;
        serde_json::from_str(record.seen.get())
            .with_context(|| format!("the record of {case} {runtime}"))
    }

    #[must_use]
    pub fn label(&self) -> String {
        let Header { monitor, date, suite, .. } = &self.header;
        format!("{} (recorded {date} with scenarios of {suite})", monitor.label)
    }
}

/// Writes a file; with `.xz` at the end of its name, compressed.
///
/// # Errors
///
/// It cannot be written.
pub fn write(
    path: &Path,
    monitor: Monitor,
    suite: String,
    date: String,
    host: Identity,
    mut records: Vec<Record>,
) -> Result<()> {
    records.sort_by(|a, b| (&a.case, a.runtime).cmp(&(&b.case, b.runtime)));
    let mut rest = String::new();
    for record in &records {
        rest.push_str(&serde_json::to_string(record)?);
        rest.push('\n');
    }
    let (records, checksum) = (records.len(), file::checksum(&rest));
    let header = Header { format: FORMAT, monitor, suite, date, host, records, checksum };
    let text = format!("{}\n{rest}", serde_json::to_string(&header)?);
    file::write(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::identity::Runtime;

    fn host() -> Identity {
        let crun = Runtime { path: "/usr/bin/crun".into(), version: "crun version 1".into() };
        Identity {
            kernel: "6".into(),
            cgroup: 1,
            architecture: "x86_64".into(),
            runtimes: [(RuntimeKind::Crun, crun)].into(),
        }
    }

    fn written(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("x.jsonl");
        let version = semver::Version::new(2, 2, 1);
        let traits = Traits::of_version(&version);
        let monitor = Monitor { version, label: "2.2.1".into(), traits };
        let seen = Observation { unmet: vec!["x".into()], ..Observation::default() };
        let record = Record::new("a/b", RuntimeKind::Crun, "f", &seen).unwrap();
        write(&path, monitor, "rev".into(), "2026-01-01".into(), host(), vec![record]).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let golden = Golden::read(&written(directory.path()), &host()).unwrap();
        assert_eq!(golden.void("a/b", RuntimeKind::Crun, "f"), None);
        assert_eq!(golden.seen("a/b", RuntimeKind::Crun).unwrap().unmet, ["x"]);
    }

    #[test]
    fn a_record_is_void_where_anything_that_makes_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path());
        let void = |here: &Identity, case, fingerprint| {
            let golden = Golden::read(&path, here).unwrap();
            golden.void(case, RuntimeKind::Crun, fingerprint).unwrap()
        };
        assert!(void(&host(), "a/c", "f").contains("not recorded"));
        assert!(void(&host(), "a/b", "g").contains("scenario has changed"));
        let mut other = host();
        other.cgroup = 2;
        assert!(void(&other, "a/b", "f").contains("cgroups of version 1"));
        let mut other = host();
        other.runtimes.get_mut(&RuntimeKind::Crun).unwrap().version = "crun version 2".into();
        assert!(void(&other, "a/b", "f").contains("crun version 1"));
    }

    #[test]
    fn what_cannot_be_trusted_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path());
        let whole = std::fs::read_to_string(&path).unwrap();
        let first = whole.lines().next().unwrap();
        for (text, reason) in [
            (whole[..whole.len() - 5].to_owned(), "damaged: 1 of 1 records"),
            (format!("{first}\n"), "damaged: 0 of 1 records"),
            (whole.replace("\"a/b\"", "\"a/c\""), "damaged: 1 of 1 records, and not those"),
            (whole.replace("\"format\":1", "\"format\":7"), "of format 7; this program reads 1"),
            (whole.replace("x86_64", "aarch64"), "recorded on aarch64; this host is x86_64"),
            (whole.replace("\"format\"", "\"form\""), "names no format"),
            (String::new(), "damaged: its first line is no JSON"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Golden::read(&path, &host()).err().unwrap();
            let said = format!("{error:#}");
            assert!(said.contains(reason) && !said.contains('\n'), "{said}\nlacks {reason}");
        }
    }
}
