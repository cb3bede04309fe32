//! From a recorded life to its cases: each call, each way it can fail, once and for ever.

use std::collections::{BTreeMap, BTreeSet};

use crate::faults::errnos::{self, Lasts};
use crate::faults::outcome::{Call, Fault, Role};

/// One case: a life and what fails in it.
#[derive(Debug, Clone)]
pub struct Case {
    pub life: String,
    pub fault: Fault,
}

impl Case {
    /// `k8s-file/monitor/openat-creat-2/ENOSPC/once`
    pub fn name(&self) -> String {
        let Call { role, name, position, detail } = &self.fault.call;
        let detail = if detail.is_empty() { String::new() } else { format!("-{detail}") };
        let errno = errnos::name(self.fault.errno);
        let lasts = if self.fault.for_ever { "for-ever" } else { "once" };
        format!("{}/{}/{name}{detail}-{position}/{errno}/{lasts}", self.life, role_name(*role))
    }
}

/// As it stands in names.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Launched => "launched",
        Role::Monitor => "monitor",
        Role::Child => "child",
    }
}

/// Of a call that is made again and again, the first so many are tried, then each
/// [`STRIDE`]-th, and the last [`LAST`].
const FIRST: u32 = 6;
const STRIDE: u32 = 4;
const LAST: u32 = 3;

/// All cases of a life, in the order in which its calls were made.
///
/// `for ever` is tried where the first, the last and each [`STRIDE`]-th call of a name is made:
/// in between it differs little.
pub fn cases(life: &str, calls: &[Call]) -> Vec<Case> {
    let mut most: BTreeMap<(Role, &str), u32> = BTreeMap::new();
    for call in calls {
        most.insert((call.role, &call.name), call.position);
    }
    let mut seen = BTreeSet::new();
    let mut cases = Vec::new();
    for call in calls {
        let most = most.get(&(call.role, call.name.as_str())).copied().unwrap_or_default();
        let from_end = most - call.position.min(most);
        let stands_out = call.position % STRIDE == 0 || from_end < LAST;
        if !(call.position <= FIRST || stands_out) || !seen.insert(call.clone()) {
            continue;
        }
        for (errno, lasts) in errnos::of(&call.name, &call.detail) {
            let mut add = |for_ever| {
                let fault = Fault { call: call.clone(), errno: *errno, for_ever };
                cases.push(Case { life: life.to_owned(), fault });
            };
            if *lasts != Lasts::ForEver {
                add(false);
            }
            if *lasts != Lasts::Once && (call.position == 1 || stands_out) {
                add(true);
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, position: u32) -> Call {
        Call { role: Role::Monitor, name: name.into(), position, detail: String::new() }
    }

    #[test]
    fn every_failure_of_a_call_is_a_case_of_its_own() {
        let cases = cases("k8s-file", &[call("listen", 1), call("fork", 1)]);
        let names: Vec<String> = cases.iter().map(Case::name).collect();
        assert_eq!(
            names,
            [
                "k8s-file/monitor/listen-1/EADDRINUSE/once",
                "k8s-file/monitor/fork-1/EAGAIN/once",
                "k8s-file/monitor/fork-1/EAGAIN/for-ever",
                "k8s-file/monitor/fork-1/ENOMEM/once",
            ]
        );
    }

    #[test]
    fn of_many_calls_the_first_and_last_are_tried() {
        let calls: Vec<Call> = (1..=40).map(|position| call("listen", position)).collect();
        let positions: Vec<u32> =
            cases("x", &calls).iter().map(|case| case.fault.call.position).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 28, 32, 36, 38, 39, 40]);
    }
}
