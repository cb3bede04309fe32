//! `conmon-compat doctor`: what this host has, tried once, and what will be skipped.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use console::StyledObject;

use super::selection::{Selection, built_monitor, program};
use crate::host::subject::Subject;
use crate::host::{Finding, Host};
use crate::podman::host::Host as PodmanHost;
use crate::report::about;
use crate::scenario::RuntimeKind;
use crate::tables::{podman, probe};
use crate::world::{keeper, programs};
use crate::{host, stdout};

/// What can be had, and works.
fn ok() -> StyledObject<&'static str> {
    console::style("ok  ").green()
}

/// What some cases are skipped for.
fn lack() -> StyledObject<&'static str> {
    console::style("lack").yellow()
}

/// What nothing can be said without.
fn fault() -> StyledObject<&'static str> {
    console::style("lack").red()
}

fn tell(mark: StyledObject<&str>, what: impl Display, text: impl Display) {
    stdout::print_line(format_args!("{mark} {what}: {text}"));
}

/// False where a monitor or a runtime does not work, or for want of root.
pub fn run(selection: &Selection) -> Result<bool> {
    let tables = selection.tables()?;
    let wanted = tables.iter().any(|table| table.name == podman::NAME);
    let mut podman = None;
    if wanted && host::find("podman").is_some() {
        // Podman has no keeper to do it. There is no other thread yet.
        keeper::hold_controllers()?;
        podman = Some(PodmanHost::probe().map_err(Error::msg)?);
    }
    let host = Host::look();
    host.findings().into_iter().for_each(show);
    podman.iter().flat_map(podman::findings).for_each(show);
    let program = program()?;
    for kind in [RuntimeKind::Crun, RuntimeKind::Standin] {
        if let Err(problem) = programs::tools(&program, &host, kind) {
            stdout::print_line(format_args!("{} {problem:#}", fault()));
        }
    }
    for (name, version) in about::programs(&host) {
        tell(ok(), name, version);
    }
    let works = try_out(&host, &program, podman.as_ref())?;
    let cases: Vec<_> = tables.iter().flat_map(|table| &table.cases).collect();
    let skipped: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("  {}: {}", case.key(), case.lack(&host)?)))
        .collect();
    stdout::print_line(format_args!("{} of {} runs will be skipped", skipped.len(), cases.len()));
    skipped.iter().for_each(stdout::print_line);
    Ok(works && nix::unistd::geteuid().is_root())
}

fn show(finding: Finding) {
    match finding.found {
        Ok(found) => tell(ok(), finding.what, found),
        Err(reason) => tell(lack(), finding.what, reason),
    }
}

/// Has each monitor say its version, and each runtime and Podman lead one container's life; whether all of them do.
fn try_out(host: &Host, program: &Path, podman: Option<&PodmanHost>) -> Result<bool> {
    let mut works = true;
    let mut try_one = |what: String, result: Result<String>| match result {
        Ok(text) => tell(ok(), what, text),
        Err(problem) => {
            works = false;
            tell(fault(), what, format_args!("{problem:#}"));
        }
    };
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let reference = named("CONMON_REFERENCE").unwrap_or_else(|| "/usr/bin/conmon".into());
    let candidate = named("CONMON_CANDIDATE").map_or_else(built_monitor, Ok)?;
    let root = nix::unistd::geteuid().is_root();
    let mut monitor = None;
    let mut monitors = vec![("candidate", candidate), ("reference", reference)];
    // An installed suite has none of its own build; `run` names it.
    if named("CONMON_CANDIDATE").is_none() && !monitors[0].1.exists() {
        let (what, path) = monitors.remove(0);
        tell(lack(), what, format_args!("none at {}; name it by --candidate", path.display()));
    }
    for (what, path) in monitors {
        let subject = Subject::check(&path);
        let tried = subject.and_then(|subject| {
            if root {
                probe::monitor(program, host, &subject)?;
            }
            let text = format!("{} ({})", subject.path.display(), subject.label);
            monitor = Some(subject);
            Ok(text)
        });
        try_one(what.to_owned(), tried);
    }
    let Some(monitor) = monitor.filter(|_| root) else { return Ok(works) };
    let there = [RuntimeKind::Crun, RuntimeKind::Runc];
    let there: Vec<_> = there.into_iter().filter(|kind| host.runtime(*kind).is_some()).collect();
    for kind in &there {
        let tried = probe::runtime(program, host, &monitor, *kind);
        try_one(format!("a container with {kind}"), tried.map(|()| "lives and ends".to_owned()));
    }
    if let Some(podman) = podman {
        let tried = podman::probe(podman, &monitor.path, &there);
        let tried = tried.map(|runtime| format!("lives and ends ({runtime})"));
        try_one("a container of Podman".to_owned(), tried);
    }
    Ok(works)
}
