//! Which cases there are, and with which runtimes they are played.

use super::case::{Case, Runtimes};
use super::cases;
use crate::scenario::RuntimeKind;

/// One case with one runtime.
#[derive(Clone, Copy)]
pub struct Task {
    pub case: &'static Case,
    pub runtime: RuntimeKind,
}

impl Task {
    /// What it is called in lists: the case, and the runtime where there is a choice.
    #[must_use]
    pub fn id(&self) -> String {
        match self.case.runtimes {
            Runtimes::Real => format!("{}@{}", self.case.id(), self.runtime),
            Runtimes::Standin | Runtimes::None => self.case.id(),
        }
    }
}

/// Pairs cases with the runtimes that are wanted.
#[must_use]
pub fn tasks(wanted: &[RuntimeKind]) -> Vec<Task> {
    let pair = |case: &'static Case| {
        let real = [RuntimeKind::Crun, RuntimeKind::Runc];
        let runtimes = match case.runtimes {
            Runtimes::Real => real.into_iter().filter(|kind| wanted.contains(kind)).collect(),
            Runtimes::Standin | Runtimes::None => vec![RuntimeKind::Standin],
        };
        runtimes.into_iter().map(move |runtime| Task { case, runtime })
    };
    cases::all().into_iter().flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use semver::VersionReq;

    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_in_small_letters() {
        let ids: Vec<String> = cases::all().iter().map(|case| case.id()).collect();
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-/".contains(c);
            assert!(id.chars().all(plain), "{id}");
        }
    }

    #[test]
    fn known_differences_name_versions_and_a_place_in_the_documents() {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for differs in cases::all().iter().flat_map(|case| case.differs) {
            assert!(VersionReq::parse(differs.reference).is_ok(), "{}", differs.reference);
            let (file, anchor) = differs.link.split_once('#').unwrap();
            let text = std::fs::read_to_string(format!("{top}/{file}")).unwrap();
            assert!(text.contains(&format!("id=\"{anchor}\"")), "{}", differs.link);
        }
    }
}
