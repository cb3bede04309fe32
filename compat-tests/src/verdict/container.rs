//! Whether a container ran: two monitors that run none are alike in everything.

use serde_json::Value;

/// The field that tells, by which a known divergence excuses a monitor.
pub(super) const FIELD: &str = "containers.main";

/// What is wrong about the containers of a scenario, if anything is.
///
/// A container ran if a monitor's pid file named a process that was there, and the caller's start did not fail. A scenario
/// in which that is so under neither monitor shows nothing, unless it says why none runs (`none`); then none may. `sides` are the
/// monitors with their names, the candidate last, and whether it is known that they differ in that from what the scenario says.
pub(super) fn fault(none: Option<&str>, sides: &[(&str, Option<&Value>, bool)]) -> Option<String> {
    let ran_under = |(_, seen, _): &&(&str, Option<&Value>, bool)| seen.is_some_and(ran);
    let candidate = sides.last()?;
    match none {
        None if sides.iter().any(|side| ran_under(&side)) || candidate.2 => None,
        None => {
            let said = candidate.1.and_then(|seen| seen.get("runtime_output"));
            let said = said.map(Value::to_string).unwrap_or_default();
            let what = "if that is right, say why with `no_container`";
            Some(format!("no container ran, so nothing was compared: {what} {said}"))
        }
        Some(why) => {
            let (side, ..) = sides.iter().filter(ran_under).find(|(.., known)| !known)?;
            Some(format!("{side}: a container ran, although none should ({why})"))
        }
    }
}

fn ran(seen: &Value) -> bool {
    let states = seen.get("containers").and_then(Value::as_object);
    let lived = states.is_some_and(|states| states.values().any(|s| s != "never reported"));
    let said = seen.get("runtime_output").and_then(Value::as_array);
    let failed = |line: &Value| {
        let status = line.as_str().and_then(|line| line.strip_prefix("start: "));
        status.is_some_and(|status| !status.starts_with("exited 0"))
    };
    lived && !said.is_some_and(|lines| lines.iter().any(failed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(none: Option<&str>, reference: &Value, candidate: &Value) -> Option<String> {
        fault(none, &[("reference", Some(reference), false), ("candidate", Some(candidate), false)])
    }

    #[test]
    fn two_that_run_no_container_prove_nothing() {
        let none = json!({"containers": {"main": "never reported"}});
        let gone = json!({"containers": {"main": "gone"}});
        let unstarted = json!({
            "containers": {"main": "gone"},
            "runtime_output": ["start: exited 1 no such device"],
        });
        assert!(said(None, &none, &none).unwrap().contains("no container ran"));
        assert!(said(None, &unstarted, &unstarted).unwrap().contains("no such device"));
        let late = json!({
            "containers": {"main": "gone"},
            "runtime_output": ["state: exited 0", "start: exited 1 no such device"],
        });
        assert!(said(None, &late, &late).is_some());
        // One that ran is enough, whatever became of others.
        let two = json!({"containers": {"main": "gone", "other": "never reported"}});
        assert_eq!(said(None, &two, &two), None);
        assert_eq!(said(None, &none, &gone).or(said(None, &gone, &gone)), None);
        let known = [("reference", Some(&none), true), ("candidate", Some(&none), true)];
        assert_eq!(fault(None, &known), None);
    }

    #[test]
    fn a_scenario_may_say_that_none_runs_and_must_be_right() {
        let none = json!({"containers": {"main": "never reported"}});
        let gone = json!({"containers": {"main": "gone"}});
        let why = Some("it is refused");
        assert_eq!(said(why, &none, &none), None);
        let text = "candidate: a container ran, although none should (it is refused)";
        assert_eq!(said(why, &none, &gone).as_deref(), Some(text));
        let known = [("reference", Some(&gone), true), ("candidate", Some(&none), false)];
        assert_eq!(fault(why, &known), None);
    }
}
