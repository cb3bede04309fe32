//! Runs Podman with two monitors through a table of cases and prints where users would see a difference.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::Parser;
use conmon_compat::podman::case::{self, Case};
use conmon_compat::podman::host::Host;
use conmon_compat::podman::table::{Settings, Table};
use conmon_compat::world::keeper;
use conmon_compat::{stdout, tables};

/// Compares two monitors by what Podman's users see.
#[derive(Parser)]
#[command(name = "podman-compat", version)]
struct Options {
    #[command(flatten)]
    common: tables::Common,
    /// OCI runtimes to try, the first that works is used.
    #[arg(long, default_values = ["crun", "runc"])]
    runtime: Vec<String>,
    /// The directory of the tables.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Leave the worlds where they are.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("podman-compat: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let common = &options.common;
    let directory = options.cases.clone().unwrap_or_else(|| workspace().join("fixtures/podman"));
    let mut cases = case::read_all(&directory).map_err(Error::msg)?;
    common.choose(&mut cases, Case::id)?;
    let host = Host::probe().map_err(Error::msg)?;
    if common.list {
        for case in &cases {
            tables::print_listed(&case.id(), &case.why, host.lacks(case));
        }
        return Ok(true);
    }
    keeper::hold_controllers()?;
    tables::end_on_signals();
    let settings = Settings {
        reference: &common.reference,
        candidate: &common.candidate(),
        runtimes: &options.runtime,
        cases: &directory,
        keep: options.keep,
    };
    let table = Table::new(host, &settings).map_err(Error::msg)?;
    eprintln!(
        "podman {} with {}; reference conmon {}, candidate conmon {}",
        table.host.podman, table.plan.runtime, table.reference_version, table.candidate_version
    );
    let rows = common.play(&cases, |case| table.play(case), |row| stdout::print_line(row.text()));
    drop(table);
    common.finish("podman", &rows)
}

/// The workspace this program was built in, or the one named by the environment.
fn workspace() -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::env::var_os("WORKSPACE").map_or_else(|| built_in.to_owned(), PathBuf::from)
}
