//! One test for each case of CRI-O's table, and for each fault that one of them must notice.
//!
//! `CONMON_REFERENCE` and `CONMON_CANDIDATE` name other binaries than the distribution's and the workspace's.
#![allow(clippy::print_stderr, reason = "a test program of its own")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use conmon_compat::crio::table::{self, Table};
use conmon_compat::crio::tasks::{self, Task};
use conmon_compat::host::subject;
use conmon_compat::podman::report::{Row, Verdict};
use conmon_compat::scenario::RuntimeKind;
use conmon_compat::world::programs::Fault;
use libtest_mimic::{Arguments, Failed, Trial};

/// Each fault of `faults/faults.rs`, put into the C reference, with the case that must fail for it.
const TEETH: &[(&str, &str)] = &[
    ("exit-newline", "create/reports-the-pid"),
    ("persist-exit-missing", "create/reports-the-pid"),
    ("sync-lost", "create/reports-the-pid"),
    ("missing-newline", "log/has-the-form-of-the-cri"),
    ("short-fraction", "log/has-the-form-of-the-cri"),
    ("attach-stream", "attach/tells-the-streams-apart"),
    ("winsize-swapped", "attach/resizes-the-terminal"),
    ("socket-link", "attach/tells-the-streams-apart"),
    ("kills-nobody", "exec/times-out"),
    ("sigpipe-kept", "stop/survives-the-kill-signal-of-its-scope"),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        let wanted = std::env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = wanted.and_then(|text| text.parse().ok());
    }
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(reason) => {
            eprintln!("{reason:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> anyhow::Result<Vec<Trial>> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_crio-compat"));
    let (reference, candidate) = subject::named_by_environment(&program);
    if !nix::unistd::geteuid().is_root() || !reference.exists() {
        let reason = format!("this needs root and {}", reference.display());
        let trial = Trial::test("crio", || Ok(())).with_kind(reason).with_ignored_flag(true);
        return Ok(vec![trial]);
    }
    let table = Arc::new(Table::new(&program, &reference, &candidate)?);
    let tasks = tasks::tasks(&[RuntimeKind::Crun, RuntimeKind::Runc]);
    let mut trials: Vec<Trial> = tasks.into_iter().map(|task| played(&table, task)).collect();
    let first = |id: &str| {
        let real = tasks::tasks(&[RuntimeKind::Crun]);
        real.into_iter().find(|task| task.case.id() == id)
    };
    for (name, id) in TEETH {
        let Some(task) = first(id) else { anyhow::bail!("no case {id}") };
        trials.push(noticed(&program, name, task));
    }
    for id in ["create/reports-the-pid", "attach/resizes-the-terminal"] {
        let Some(task) = first(id) else { anyhow::bail!("no case {id}") };
        trials.push(not_noticed(&program, task));
    }
    Ok(trials)
}

/// A trial, ignored where the host cannot run its case.
fn trial(
    name: String,
    task: Task,
    lack: Option<String>,
    run: impl FnOnce(&Task) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let trial = Trial::test(name, move || run(&task));
    match lack {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}

fn played(table: &Arc<Table>, task: Task) -> Trial {
    let lack = table::lacks(&table.host, &task);
    let table = table.clone();
    trial(task.id(), task, lack, move |task| {
        let row = table.play(task);
        if row.failed() { Err(Failed::from(row.text())) } else { Ok(()) }
    })
}

/// Plays a case with the C reference and with the same program under a fault.
fn with_fault(program: &Path, name: &str, task: &Task) -> Result<Row, Failed> {
    let reference = Path::new("/usr/bin/conmon");
    let mut table = Table::new(program, reference, reference)?;
    table.fault =
        Some(Fault { library: env!("CONMON_COMPAT_FAULTS").into(), name: name.to_owned() });
    Ok(table.play(task))
}

fn fault_lack() -> Option<String> {
    let able = Path::new(env!("CONMON_COMPAT_FAULTS")).exists();
    let able = able && Path::new("/usr/bin/conmon").exists();
    (!able).then(|| "no library of faults, or no /usr/bin/conmon".to_owned())
}

fn noticed(program: &Path, name: &'static str, task: Task) -> Trial {
    let program = program.to_owned();
    trial(format!("teeth/{name}"), task, fault_lack(), move |task| {
        match with_fault(&program, name, task)? {
            Row { verdict: Verdict::NotAsExpected { monitor: "candidate", .. }, .. } => Ok(()),
            row => Err(format!("nothing was said about {name}: {}", row.text()).into()),
        }
    })
}

/// The library itself must not be what is noticed.
fn not_noticed(program: &Path, task: Task) -> Trial {
    let program = program.to_owned();
    trial(format!("teeth/none/{}", task.case.name), task, fault_lack(), move |task| {
        let row = with_fault(&program, "none", task)?;
        if row.failed() { Err(row.text().into()) } else { Ok(()) }
    })
}
