//! Which cases there are: those of every table, chosen by table, name and runtime.

pub mod crio;
pub mod faults;
pub mod fixtures;
pub mod podman;
pub mod probe;
pub mod scenarios;
mod story;

use std::path::Path;

use anyhow::Result;

use crate::case::{Case, Table};
use crate::scenario::RuntimeKind;
use crate::text::glob;

/// The tables that are played unless others are named, by their names and in this order.
pub const NAMES: [&str; 3] = [scenarios::NAME, crio::NAME, podman::NAME];

/// Every table. Faults take minutes and compare nothing, so they are played only where they are named.
pub const ALL: [&str; 4] = [scenarios::NAME, crio::NAME, podman::NAME, faults::NAME];

/// Reads the table of this name, one of [`NAMES`]; [`faults::table`] depends on a monitor.
///
/// # Errors
///
/// What is wrong in a file of it; that there is no such table.
pub fn table(name: &str, fixtures: &Path, runtimes: &[RuntimeKind]) -> Result<Table> {
    match name {
        scenarios::NAME => scenarios::table(&fixtures.join("scenarios"), runtimes),
        crio::NAME => Ok(crio::table(runtimes)),
        podman::NAME => podman::table(&fixtures.join("podman"), runtimes),
        _ => anyhow::bail!("there is no table `{name}`, only {}", NAMES.join(", ")),
    }
}

/// Whether a filter of the command line names a case: by a glob over its name or a part of it in front, as `attach`,
/// `podman/run`, `crio/exec/times-*`; with `@RUNTIME` behind it, only with that runtime.
#[must_use]
pub fn fits(filter: &str, case: &dyn Case) -> bool {
    let (pattern, runtime) = filter.split_once('@').unwrap_or((filter, ""));
    let named = glob(pattern, case.name(), '/') || glob(&format!("{pattern}/**"), case.name(), '/');
    let with = runtime.is_empty() || case.runtime().is_some_and(|kind| kind.to_string() == runtime);
    named && with
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<Table> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let runtimes = [RuntimeKind::Crun, RuntimeKind::Runc, RuntimeKind::Standin];
        NAMES.iter().map(|name| table(name, &fixtures, &runtimes).unwrap()).collect()
    }

    #[test]
    fn each_case_has_a_name_of_its_own_in_small_letters() {
        let mut keys = BTreeSet::new();
        for case in all().iter().flat_map(|table| &table.cases) {
            assert!(keys.insert(case.key()), "{} twice", case.key());
            let plain = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '/')
            };
            assert!(case.name().chars().all(plain), "{}", case.name());
            assert!(!case.why().is_empty(), "{}", case.name());
        }
    }

    #[test]
    fn the_names_of_a_table_begin_with_it() {
        for table in all().iter().filter(|table| table.name != scenarios::NAME) {
            let start = format!("{}/", table.name);
            assert!(table.cases.iter().all(|case| case.name().starts_with(&start)));
        }
    }

    #[test]
    fn a_filter_is_a_glob_or_an_area_with_or_without_a_runtime() {
        let tables = all();
        let named = |filter: &str| {
            let cases = tables.iter().flat_map(|table| &table.cases);
            let chosen = cases.filter(|case| fits(filter, case.as_ref()));
            chosen.map(|case| case.key()).collect::<Vec<_>>()
        };
        assert!(named("podman").len() > 100 && named("podman/run").len() > 10);
        assert_eq!(named("crio/exec/times-*").len(), 2);
        assert_eq!(named("crio/exec/times-out@crun"), ["crio/exec/times-out crun"]);
        assert!(named("exec").iter().all(|key| key.starts_with("exec/")));
        assert!(named("nowhere").is_empty());
    }
}
