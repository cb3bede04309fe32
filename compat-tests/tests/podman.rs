//! One test for each case of Podman's table: its users see no difference between the reference and the candidate.
//!
//! `CONMON_REFERENCE` and `CONMON_CANDIDATE` name other binaries than the distribution's and the workspace's.
#![allow(clippy::print_stderr, reason = "a test program of its own")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use conmon_compat::host::subject;
use conmon_compat::podman::case::{self, Case};
use conmon_compat::podman::host::Host;
use conmon_compat::podman::report::Row;
use conmon_compat::podman::table::{Settings, Table};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        let wanted = std::env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = wanted.and_then(|text| text.parse().ok());
    }
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/podman");
    let cases = case::read_all(&directory)?;
    let host = match Host::probe() {
        Ok(host) => host,
        Err(reason) => {
            let trial = Trial::test("podman", || Ok(())).with_kind(reason).with_ignored_flag(true);
            return Ok(vec![trial]);
        }
    };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_podman-compat"));
    let (reference, candidate) = subject::named_by_environment(&program);
    let settings = Settings {
        reference: &reference,
        candidate: &candidate,
        runtimes: &["crun".to_owned(), "runc".to_owned()],
        cases: &directory,
        keep: false,
    };
    let chosen = |case: &Case| {
        let id = case.id();
        arguments.filter.as_ref().is_none_or(|filter| id.contains(filter.as_str()))
    };
    // Nothing is made on the host just to list the cases, or to run none of them.
    let plays = !arguments.list && cases.iter().any(chosen);
    let table = if plays { Some(Arc::new(Table::new(host.clone(), &settings)?)) } else { None };
    let trials = cases.into_iter().map(|case| {
        let lack = host.lacks(&case);
        let table = table.clone();
        // The table's worlds are removed when the last test lets go of it.
        let trial = Trial::test(case.id(), move || {
            let row = table.as_ref().map(|table| table.play(&case));
            row.filter(Row::failed).map_or(Ok(()), |row| Err(Failed::from(row.text())))
        });
        match lack {
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
            None => trial,
        }
    });
    Ok(trials.collect())
}
