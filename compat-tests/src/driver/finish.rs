//! Gathering what was seen, once the last step is done.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::Driver;
use crate::clock::now;
use crate::host::cgroup;
use crate::observation::{Datagram, JournalEntry, LaunchSeen, MonitorSeen, Observation};
use crate::observe::datagrams::{journal_fields, lacks_oom_counter, without_syslog_time};
use crate::observe::normalize;
use crate::observe::streams::{End, Stream};
use crate::observe::{files, logs, process, records};
use crate::scenario::PipeKind;
use crate::text::escape;
use crate::world::paths;
use crate::world::watchdog::now_at;

/// Clocks are compared with this tolerance, in nanoseconds.
const TOLERANCE: i128 = 1_000_000_000;

impl Driver<'_> {
    /// Turns everything into an observation with names instead of pids.
    pub(super) fn finish(mut self) -> Result<Observation> {
        now_at("the end: waiting for the last bytes");
        self.settle()?;
        now_at("the end: gathering");
        let mut pids = self.known_pids();
        let mut seen = std::mem::take(&mut self.seen);
        seen.files.insert("end".into(), files::tree(paths::WATCHED));
        seen.runtime = records::read(paths::RUNTIME_CALLS, "runtime", &mut pids);
        seen.exit_commands = records::read(paths::EXIT_CALLS, "exit-command", &mut pids);
        for name in self.monitors.keys() {
            let state = match self.container_pid(name).map(process::state) {
                None => "never reported",
                Some(None) => "gone",
                Some(Some('Z')) => "zombie",
                Some(Some('T')) => "stopped",
                Some(Some(_)) => "running",
            };
            seen.containers.insert(name.clone(), state.into());
            seen.monitors.insert(name.clone(), self.monitor_seen(name));
        }
        for (name, client) in &self.clients {
            seen.clients.insert(name.clone(), client.seen());
        }
        seen.logs = self.logs();
        seen.events = self.watch.events();
        seen.order = self.watch.exit_order();
        let name_of = |pid: i32| format!("[PID:{}]", pids.get(&pid).map_or("?", String::as_str));
        seen.journal =
            self.journal.received.iter().map(|m| journal_entry(name_of(m.pid), &m.bytes)).collect();
        let syslog = self.syslog.received.iter().map(|m| without_syslog_time(&escape(&m.bytes)));
        // What a monitor says of a host without memory controller tells of the host.
        let counts = cgroup::has_memory();
        seen.syslog = syslog.filter(|line| counts || !lacks_oom_counter(line)).collect();
        seen.notify = self
            .notify
            .received
            .iter()
            .map(|m| Datagram { from: name_of(m.pid), text: escape(&m.bytes) })
            .collect();
        let mut value = serde_json::to_value(&seen)?;
        normalize::apply(&mut value, &pids);
        if let Some(hang) = value.get_mut("hang") {
            *hang = Value::from(seen.hang);
        }
        Ok(serde_json::from_value(value)?)
    }

    fn known_pids(&self) -> BTreeMap<i32, String> {
        let mut pids = BTreeMap::new();
        for (name, running) in &self.monitors {
            if let Some(pid) = self.container_pid(name) {
                let what =
                    if name == "main" { "container".into() } else { format!("{name}.container") };
                pids.insert(pid, what);
            }
            pids.insert(running.launched, format!("{name}.launched"));
            if let Some(pid) = running.pid {
                pids.insert(pid, name.clone());
            }
        }
        pids
    }

    fn monitor_seen(&self, name: &str) -> MonitorSeen {
        let Some(running) = self.monitors.get(name) else { return MonitorSeen::default() };
        let status = |pid: i32| self.ended.get(&pid).cloned().unwrap_or_else(|| "running".into());
        let reports = |stream: &Stream| match running.call.pipes {
            PipeKind::Seqpacket => stream.reads.iter().map(|read| escape(read)).collect(),
            _ if stream.reads.is_empty() => Vec::new(),
            _ => vec![escape(&stream.bytes())],
        };
        MonitorSeen {
            launch: LaunchSeen {
                status: status(running.launched),
                stdout: escape(&running.stdout.bytes()),
                stderr: escape(&running.stderr.bytes()),
                order: running.order_told(),
                stdout_late: running.late(0),
                stderr_late: running.late(1),
            },
            reports: running.sync.as_ref().map(reports).unwrap_or_default(),
            reports_end: running.sync.as_ref().map_or(End::Closed, |s| s.end).describe(),
            attach_reports: running.attach.as_ref().map(reports).unwrap_or_default(),
            end: running.pid.map_or_else(|| "never seen".into(), status),
            look: running.looks.clone(),
        }
    }

    fn logs(&self) -> BTreeMap<String, crate::observation::LogSeen> {
        let mut all = BTreeMap::new();
        let mut add = |name: String, path: &Path| {
            let log = logs::read(path, self.began - TOLERANCE, now() + TOLERANCE);
            if let Some(log) = log {
                all.insert(name, log);
            }
        };
        for entry in std::fs::read_dir(paths::LOG_DIR).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                add(entry.file_name().to_string_lossy().into_owned(), &entry.path());
            }
        }
        for name in self.scenario.data.exec.keys() {
            let path = format!("{}/exec.log", paths::session_bundle(name));
            add(format!("{name}/exec.log"), Path::new(&path));
        }
        all
    }
}

fn journal_entry(from: String, datagram: &[u8]) -> JournalEntry {
    const CODE_LINE: &str = "CODE_LINE=";
    let mut entry = JournalEntry { from, fields: journal_fields(datagram), ..Default::default() };
    for field in &mut entry.fields {
        if let Some(line) = field.strip_prefix(CODE_LINE) {
            entry.code_line = line.to_string();
            *field = format!("{CODE_LINE}[code_line]");
        }
    }
    entry
}
