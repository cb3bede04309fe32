//! What is judged, and how: one test for each thing a verdict consists of.

use std::path::Path;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::scenario::Scenario;

const KNOWN: &str = "[[divergence]]\nscenario = '**'\nkind = 'defect'\nwhy = 'known'\ndoc = 'd'\n\
                     path = 'end'\nfrom = 'exited 1'\nto = 'exited 0'\n";

/// A judge of one case: what a scenario says of judging, what is known, and whether two equals are compared.
struct Judge {
    scenario: Option<Scenario>,
    known: Vec<Divergence>,
    traits: Traits,
    equals: bool,
}

/// Knows `entries`, and no scenario.
fn knowing(entries: &str) -> Judge {
    let traits = Traits::of_version(&semver::Version::new(2, 1, 6));
    Judge { scenario: None, known: parse(entries).unwrap(), traits, equals: false }
}

/// Judges by these keys of a scenario in which no container runs.
fn scenario(keys: &str) -> Judge {
    let text = format!("why = 'x'\nno_container = 'y'\nsteps = ['run']\n{keys}\n");
    let scenario = Scenario::parse(Path::new("area/case.toml"), &text).unwrap();
    Judge { scenario: Some(scenario), ..knowing("") }
}

impl Judge {
    fn equals(self) -> Self {
        Self { equals: true, ..self }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            name: "area/case",
            runtime: None,
            data: self.scenario.as_ref().map(|scenario| &scenario.data),
            known: &self.known,
            reference: &self.traits,
            equals: self.equals,
        }
    }

    fn judge(&self, reference: &Value, candidate: &Value) -> Verdict {
        judge(&self.rules(), Some(&seen(reference)), &seen(candidate))
    }

    fn alone(&self, candidate: &Value) -> Verdict {
        judge(&self.rules(), None, &seen(candidate))
    }
}

fn seen(value: &Value) -> Seen {
    Seen { value: value.clone(), unmet: Vec::new() }
}

fn missing(path: &str, text: &str) -> Seen {
    Seen { value: json!({}), unmet: vec![Unmet { path: path.into(), text: text.into() }] }
}

fn paths(verdict: &Verdict) -> Vec<&str> {
    verdict.unexpected.iter().map(|difference| difference.path.as_str()).collect()
}

#[test]
fn finds_the_way_through_keys_with_dots() {
    for (path, pattern, expected) in [
        ("logs", "logs.**.text", true),
        ("logs.ctr.log", "logs.**.text", true),
        ("logs.ctr.log.1", "logs.**.text", true),
        ("files", "logs.**.text", false),
        ("monitors.main", "monitors.*.end", true),
        ("monitors.main.launch", "monitors.*.end", false),
        ("files.end", "files.end.exits/**", true),
    ] {
        assert_eq!(leads(path, pattern), expected, "{path} {pattern}");
    }
}

#[test]
fn a_candidate_that_has_gone_back_is_wrong() {
    let entries = "[[divergence]]\nscenario = '**'\nkind = 'defect'\nwhy = 'known'\ndoc = 'd'\n\
                   fields = [{ path = 'end', from = 'exited 1', to = 'exited 0' }, \
                   { path = 'file', from = '(absent)', to = 'there' }]\n";
    let judge = knowing(entries);
    let value = |end: &str, file: &str| json!({"end": end, "file": file});
    let without = |end: &str| json!({"end": end});
    let good = judge.judge(&without("exited 1"), &value("exited 0", "there"));
    assert!(good.is_good() && good.explained.len() == 2, "{good:?}");
    let back = judge.judge(&without("exited 1"), &value("exited 1", "there"));
    assert_eq!(
        back.broken,
        ["candidate: end is \"exited 1\" as the reference's, and should be `exited 0`: known"]
    );
    let absent = judge.judge(&without("exited 1"), &without("exited 0"));
    assert_eq!(
        absent.broken,
        ["candidate: file is absent as the reference's, and should be `there`: known"]
    );
    let mended = judge.judge(&value("exited 0", "there"), &value("exited 0", "there"));
    assert!(mended.is_good() && mended.explained.is_empty(), "{mended:?}");
}

#[test]
fn what_a_scenario_allows_is_not_gone_back_to() {
    let (one, other) = (json!({"end": "exited 1"}), json!({"end": "exited 0"}));
    let keys = "[[allowed]]\npath = 'end'\nvalues = ['exited 0', 'exited 1']\nwhy = 'a race'";
    let judge = Judge { known: parse(KNOWN).unwrap(), ..scenario(keys) };
    assert!(judge.judge(&one, &one).is_good());
    let either = judge.judge(&one, &other);
    assert!(either.is_good() && either.explained.is_empty(), "{either:?}");
}

#[test]
fn nothing_is_known_of_equals() {
    let (one, other) = (json!({"end": "exited 1"}), json!({"end": "exited 0"}));
    assert_eq!(knowing(KNOWN).judge(&one, &other).explained.len(), 1);
    let equals = knowing(KNOWN).equals();
    assert_eq!(paths(&equals.judge(&one, &other)), ["end"]);
    assert!(equals.judge(&one, &one).is_good());
}

#[test]
fn an_entry_explains_only_where_it_concerns() {
    let (one, other) = (json!({"end": "exited 1"}), json!({"end": "exited 0"}));
    for more in ["reference = '>=2.2'", "keeps_mode = true", "runtime = 'crun'"] {
        let verdict = knowing(&format!("{KNOWN}{more}\n")).judge(&one, &other);
        assert_eq!((paths(&verdict), verdict.explained.len()), (vec!["end"], 0), "{more}");
        assert!(knowing(&format!("{KNOWN}{more}\n")).judge(&one, &one).is_good(), "{more}");
    }
}

#[test]
fn each_difference_has_the_entry_that_explains_it() {
    let second = KNOWN.replace("exited", "killed").replace("'end'", "'fate'");
    let judge = knowing(&format!("{KNOWN}{second}"));
    let verdict = judge.judge(
        &json!({"end": "exited 1", "fate": "killed 1", "more": 1}),
        &json!({"end": "exited 0", "fate": "killed 0", "more": 2}),
    );
    let explained: Vec<_> =
        verdict.explained.iter().map(|(found, index)| (found.path.as_str(), *index)).collect();
    assert_eq!(explained, [("end", 0), ("fate", 1)]);
    assert_eq!(paths(&verdict), ["more"]);
}

#[rstest]
#[case::of_one_side("of = 'candidate'\n", false, "candidate", &[])]
#[case::of_both("of = 'both'\n", true, "reference", &["end is \"b\"; expected \"a\""])]
fn a_reference_is_asked_again_for_what_is_expected_of_both(
    #[case] of: &str,
    #[case] counts: bool,
    #[case] side: &str,
    #[case] missed_then: &[&str],
) {
    let judge = scenario(&format!("[[expect]]\n{of}path = 'end'\nis = 'a'"));
    let (good, bad) = (json!({"end": "a"}), json!({"end": "b"}));
    assert_eq!(missed(&judge.rules(), &seen(&bad)), missed_then);
    assert!(missed(&judge.rules(), &seen(&good)).is_empty());
    let broken = judge.judge(&bad, &good).broken;
    assert_eq!(!broken.is_empty(), counts, "{broken:?}");
    assert!(broken.iter().all(|text| text.starts_with(side)), "{broken:?}");
    assert_eq!(
        judge.judge(&good, &bad).broken.first().map(String::as_str),
        Some("candidate: end is \"b\"; expected \"a\"")
    );
}

#[test]
fn a_reference_is_asked_again_for_a_value_that_is_not_allowed() {
    let keys = "[[allowed]]\npath = 'end'\nvalues = ['eof', 'reset']\nwhy = 'a race'";
    let judge = scenario(keys);
    let end = |text: &str| json!({"end": text});
    for good in ["eof", "reset"] {
        assert!(missed(&judge.rules(), &seen(&end(good))).is_empty(), "{good}");
        assert!(judge.judge(&end("eof"), &end(good)).is_good(), "{good}");
    }
    let fault = "end is \"open\", outside of what is allowed (a race)";
    assert_eq!(missed(&judge.rules(), &seen(&end("open"))), [fault]);
    let reference = judge.judge(&end("open"), &end("eof"));
    assert_eq!(reference.broken, [format!("reference: {fault}")]);
    let candidate = judge.judge(&end("eof"), &end("open"));
    assert_eq!(candidate.broken, [format!("candidate: {fault}")]);
    assert!(candidate.unexpected.is_empty());
    let absent = judge.judge(&end("eof"), &json!({}));
    assert_eq!(
        absent.broken,
        ["candidate: end is null, outside of what is allowed (a race)"],
        "{absent:?}"
    );
}

#[test]
fn what_had_to_hold_is_asked_of_both_unless_the_reference_is_known_to_fail() {
    let (fine, wrong) = (seen(&json!({})), missing("end", "no end"));
    let of = |judge: &Judge, a: &Seen, b: &Seen| super::judge(&judge.rules(), Some(a), b).broken;
    let unknown = knowing("");
    assert_eq!(missed(&unknown.rules(), &wrong), ["no end"]);
    assert_eq!(of(&unknown, &wrong, &fine), ["reference: no end"]);
    assert_eq!(of(&unknown, &fine, &wrong), ["candidate: no end"]);
    let known = knowing(KNOWN);
    assert!(missed(&known.rules(), &wrong).is_empty());
    assert_eq!(missed(&known.rules(), &missing("start", "no start")), ["no start"]);
    assert!(of(&known, &wrong, &fine).is_empty());
    assert_eq!(of(&known, &fine, &wrong), ["candidate: no end"]);
    // Both are C programs then.
    assert!(of(&known.equals(), &wrong, &wrong).is_empty());
}

#[test]
fn an_entry_that_does_not_concern_this_reference_excuses_only_equals() {
    let wrong = missing("end", "no end");
    let newer = || knowing(&format!("{KNOWN}reference = '>=2.2'\n"));
    assert_eq!(missed(&newer().rules(), &wrong), ["no end"]);
    assert!(missed(&newer().equals().rules(), &wrong).is_empty());
}

#[test]
fn a_limit_excuses_only_who_is_judged_alone() {
    let entry = "[[divergence]]\nscenario = 'area/*'\nkind = 'limit'\nwhy = 'w'\ndoc = 'd'\n\
                 path = 'end'\nfrom = '(absent)'\nto = 'no end*'\n";
    let (fine, wrong) = (seen(&json!({})), missing("end", "no end: 3"));
    for judge in [knowing(entry), knowing(entry).equals()] {
        let rules = judge.rules();
        let alone = super::judge(&rules, None, &wrong);
        assert!(alone.is_good() && alone.explained.len() == 1, "{alone:?}");
        assert_eq!(super::judge(&rules, Some(&fine), &wrong).broken, ["candidate: no end: 3"]);
        assert_eq!(missed(&rules, &wrong), ["no end: 3"]);
        for other in [missing("end", "another end"), missing("start", "no end: 3")] {
            assert!(!super::judge(&rules, None, &other).is_good(), "{other:?}");
        }
    }
    let difference = knowing(entry).judge(&json!({}), &json!({"end": "no end: 3"}));
    assert_eq!((paths(&difference), difference.explained.len()), (vec!["end"], 0));
    let elsewhere = entry.replace("area/*", "area/other");
    assert!(!super::judge(&knowing(&elsewhere).rules(), None, &wrong).is_good());
}

#[rstest]
#[case::is("is = 'a b'", json!("a b"), json!("a"), "\"a b\"")]
#[case::is_of_another_kind("is = 3", json!(3), json!("3"), "3")]
#[case::has("has = 'a'", json!("bad"), json!("bed"), "a text with `a`")]
#[case::has_in_a_list("has = 'a'", json!(["x", "bad"]), json!([]), "a text with `a`")]
#[case::has_needs_a_field("has = ''", json!(""), Value::Null, "a text with ``")]
#[case::lacks("lacks = 'a'", json!("bed"), json!("bad"), "a text without `a`")]
#[case::glob("glob = 'a*c?'", json!("abbcd"), json!("abbc"), "the form `a*c?`")]
#[case::glob_needs_a_field("glob = '*'", json!(""), Value::Null, "the form `*`")]
#[case::one_of("one_of = ['a', 2]", json!(2), json!("2"), "one of \"a\", 2")]
#[case::absent("absent = true", Value::Null, json!(""), "nothing there")]
#[case::there("absent = false", json!(""), Value::Null, "something there")]
#[case::count("count = 2", json!([1, 2]), json!([1]), "2 items")]
#[case::count_of_fields("count = 1", json!({"a": 1}), json!({}), "1 items")]
#[case::count_of_nothing("count = 0", Value::Null, json!("x y"), "0 items")]
#[case::at_least("at_least = 2", json!(2), json!(1.9), "from Some(2.0) to None")]
#[case::at_most("at_most = 2", json!(["a", "b"]), json!([1, 2, 3]), "from None to Some(2.0)")]
#[case::between("at_least = 1\nat_most = 2", json!("1.5"), json!("3"), "from Some(1.0) to Some(2.0)")]
#[case::a_number_is_needed("at_least = 0", json!("0"), json!("none"), "from Some(0.0) to None")]
fn an_expectation_holds_or_is_said(
    #[case] wish: &str,
    #[case] good: Value,
    #[case] bad: Value,
    #[case] said: &str,
) {
    let value = |field: &Value| match field {
        Value::Null => json!({"containers": {}}),
        field => json!({"containers": {}, "unmet": field}),
    };
    let judge = scenario(&format!("[[expect]]\npath = 'unmet'\n{wish}"));
    assert_eq!(judge.alone(&value(&good)).broken, [""; 0]);
    let found = if bad.is_null() { "absent".into() } else { bad.to_string() };
    let text = format!("candidate: unmet is {found}; expected {said}");
    assert_eq!(judge.alone(&value(&bad)).broken, [text]);
}

#[test]
fn only_what_both_must_do_is_expected_of_equals() {
    let keys =
        "[[expect]]\npath = 'unmet'\nis = 'a'\n[[expect]]\nof = 'both'\npath = 'end'\nis = 'b'";
    let value = json!({"unmet": "x", "end": "x"});
    let ours = scenario(keys).judge(&value, &value).broken;
    assert_eq!(ours.len(), 3, "{ours:?}");
    let equals = scenario(keys).equals().judge(&value, &value).broken;
    let sides: Vec<_> =
        equals.iter().map(|text| text.split(' ').take(2).collect::<Vec<_>>()).collect();
    assert_eq!(sides, [["reference:", "end"], ["candidate:", "end"]]);
}

/// One field of each kind that the suite leaves out, and one beside it.
fn inner(mask: &str, state: &str) -> Value {
    json!({"monitors": {"main": {"look": {"one": {
        "umask": mask, "internal": {"state": state, "threads": state},
    }}}}, "notes": [state]})
}

#[test]
fn internals_are_compared_where_they_are_asked_for() {
    let (a, b) = (inner("0022", "S"), inner("0077", "R"));
    let of = |keys: &str| {
        let verdict = scenario(keys).judge(&a, &b);
        paths(&verdict).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let look = "monitors.main.look.one";
    assert_eq!(of(""), [format!("{look}.umask")]);
    let state = [format!("{look}.umask"), format!("{look}.internal.state")];
    assert_eq!(of("also = ['monitors.*.look.*.internal.state']"), state);
    assert_eq!(of("also = ['notes']"), [format!("{look}.umask"), "notes".to_owned()]);
    let ignore = "[[ignore]]\npath = 'monitors.*.look.*.umask'\nwhy = 'w'";
    assert_eq!(of(ignore), [""; 0]);
    // Without a scenario nothing is left out.
    assert_eq!(paths(&knowing("").judge(&a, &b)).len(), 4);
}

#[test]
fn lists_are_sorted_joined_and_named_where_that_is_said_and_nowhere_else() {
    let of = |keys: &str, a: &Value, b: &Value| scenario(keys).judge(a, b).unexpected.len();
    let (a, b) = (json!({"journal": ["x", "y"]}), json!({"journal": ["y", "x"]}));
    let sorted = "[[unordered]]\npath = 'journal'\nwhy = 'w'";
    assert_eq!((of("", &a, &b), of(sorted, &a, &b)), (1, 0));
    assert_eq!(of(sorted, &a, &json!({"journal": ["y", "y"]})), 1);
    let log = |lines: &[&str]| json!({"logs": {"ctr.log": {"lines": lines}}});
    let (a, b) = (log(&["[T] stdout P o\\n", "[T] stdout F ne\\n"]), log(&["[T] stdout F one\\n"]));
    let joined = "[[joined]]\npath = 'logs.**.lines'\nwhy = 'w'";
    assert_eq!((of("", &a, &b), of(joined, &a, &b)), (1, 0));
    assert_eq!(of("container = { argv = ['true'], tty = true }", &a, &b), 0);
    let said = |number: u32| json!({"syslog": [format!("terminal_ctrl_fd: {number}\\n")]});
    assert_eq!(of("", &said(7), &said(8)), 0);
}

#[test]
fn a_path_that_names_nothing_is_said_but_not_of_equals() {
    let keys = "[[ignore]]\npath = 'nowhere'\nwhy = 'w'";
    let value = json!({"end": "x"});
    let broken = scenario(keys).judge(&value, &value).broken;
    assert_eq!(broken, ["`ignore`: nothing is at `nowhere` on either side"]);
    assert!(scenario(keys).equals().judge(&value, &value).is_good());
}

#[test]
fn a_container_that_should_not_run_is_said() {
    let ran = json!({"containers": {"main": "gone"}});
    let none = json!({"containers": {"main": "never reported"}});
    let judge = scenario("");
    assert!(judge.judge(&none, &none).is_good());
    let said = judge.judge(&ran, &ran).broken;
    assert_eq!(said, ["reference: a container ran, although none should (y)"]);
    // Known of the reference: then the candidate is looked at.
    let entry = KNOWN.replace("'end'", "'containers.main'");
    let known = Judge { known: parse(&entry).unwrap(), ..scenario("") };
    assert_eq!(known.judge(&ran, &none).unexpected.len(), 1);
    assert!(known.judge(&ran, &none).broken.is_empty());
    let said = known.judge(&ran, &ran).broken;
    assert_eq!(said, ["candidate: a container ran, although none should (y)"]);
    // One of two equals that is judged alone does not know what the scenario is about.
    assert!(scenario("").equals().alone(&ran).is_good());
    assert!(!scenario("").alone(&ran).is_good());
}

#[test]
fn a_hang_is_what_had_to_be_otherwise() {
    let hang = |unmet: &[&str], hang: &[&str]| Observation {
        unmet: unmet.iter().map(|line| (*line).to_owned()).collect(),
        hang: hang.iter().map(|line| (*line).to_owned()).collect(),
        ..Observation::default()
    };
    assert!(Seen::of(&hang(&[], &[])).unwrap().unmet.is_empty());
    assert!(Seen::of(&hang(&["wait exit"], &[])).unwrap().unmet.is_empty());
    let seen = Seen::of(&hang(&["deadline at step 1: run"], &[])).unwrap();
    assert_eq!(seen.unmet, [Unmet { path: "hang".into(), text: "deadline at step 1: run".into() }]);
    let seen = Seen::of(&hang(&["a", "b"], &["state"])).unwrap();
    assert_eq!(seen.unmet, [Unmet { path: "hang".into(), text: "a; b\nstate".into() }]);
}
