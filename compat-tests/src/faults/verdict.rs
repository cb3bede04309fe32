//! What a monitor owes although a system call failed.
//!
//! Either it refuses, tells the caller why and leaves nothing; or the container lives, and then
//! its end is recorded in time, its output arrives or its loss is said, and nothing hangs,
//! spins, crashes or is left behind. Only a failure that lasts may cost the record, and that
//! has to be said.

use crate::faults::outcome::{Delivery, Fault, Outcome};

/// How long after the container's end its exit file may appear; callers give up at 5 s.
const RECORD_MS: u64 = 5000;
/// CPU time of the monitor in a life of some hundred calls.
const SPIN_MS: u64 = 1500;
/// More calls than so many times those of the life without a fault, and some more, is spinning.
const SPIN_TIMES: u64 = 5;
const SPIN_CALLS: u64 = 2000;
/// What is recorded of a container that SIGKILL ended.
const KILLED: &str = "137";
/// The signals by which a program ends that has a mistake.
const CRASHES: [(i32, &str); 6] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGFPE, "SIGFPE"),
];

/// The judgement of one life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The call was not made this time.
    NotMet,
    /// Nothing was started, and the caller knows.
    Refused,
    /// The container lived, and nothing was lost or its loss was said.
    Survived,
    /// What is wrong, each as `KIND: DETAILS`.
    Wrong(Vec<String>),
    /// The stage itself failed.
    Broken(String),
}

/// Judges `outcome` by the same life without a fault.
pub fn judge(outcome: &Outcome, plain: &Outcome, fault: Option<&Fault>) -> Verdict {
    if let Some(why) = &outcome.broken {
        return Verdict::Broken(why.clone());
    }
    if fault.is_some() && !outcome.reached {
        return Verdict::NotMet;
    }
    // A container that lives although its report was lost is one to be monitored.
    let refused = outcome.report.map_or(!outcome.container_ran, |report| report < 0)
        // Of a session without an API version only this is told.
        || (outcome.exit_report == Some(-1) && plain.exit_report != Some(-1));
    let mut problems = process_problems(outcome, plain);
    problems.extend(leftovers(outcome, plain, fault));
    let lasts = fault.is_some_and(|fault| fault.for_ever);
    if refused {
        problems.extend(refusal_problems(outcome, plain));
    } else if outcome.starved {
        problems.extend(starvation_problems(outcome, plain, lasts));
    } else {
        problems.extend(record_problems(outcome, plain, lasts));
        problems.extend(delivery_problems(outcome, plain));
    }
    match (problems.is_empty(), refused) {
        (false, _) => Verdict::Wrong(problems),
        (true, true) => Verdict::Refused,
        (true, false) => Verdict::Survived,
    }
}

/// Whether the monitor said anything it does not say without a fault.
fn said_something(outcome: &Outcome, plain: &Outcome) -> bool {
    outcome.said.iter().any(|line| !plain.said.contains(line))
}

fn process_problems(outcome: &Outcome, plain: &Outcome) -> Vec<String> {
    let mut problems = Vec::new();
    for (who, status) in [("launched process", outcome.launched), ("monitor", outcome.monitor)] {
        let crash = CRASHES.iter().find(|(signal, _)| status == Some(128 + signal));
        problems.extend(crash.map(|(_, name)| format!("crash: {who} ended by {name}")));
    }
    if outcome.monitor_ended_ms.is_none() {
        problems.push("hang: the monitor does not end".into());
    }
    let calls = outcome.call_count;
    if calls > SPIN_TIMES * plain.call_count + SPIN_CALLS || outcome.cpu_ms > SPIN_MS {
        problems.push(format!("spin: {calls} calls, {} ms of CPU", outcome.cpu_ms));
    }
    problems
}

/// What is there and is not without a fault. A name that cannot be removed has to be spoken of.
fn leftovers(outcome: &Outcome, plain: &Outcome, fault: Option<&Fault>) -> Vec<String> {
    let mut problems = Vec::new();
    let refuses_removal = fault.is_some_and(|fault| fault.call.name.starts_with("unlink"));
    let forgiven = refuses_removal && said_something(outcome, plain);
    // How many backups there are depends on when the log was cut.
    let is_backup = |name: &str| {
        let number = name.strip_prefix("logs/log.").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    for name in outcome.names.iter().filter(|name| !plain.names.contains(name)) {
        if !forgiven && !is_backup(name) {
            problems.push(format!("left file: {}", blank_random(name)));
        }
    }
    problems.extend(outcome.processes.iter().map(|name| format!("left process: {name}")));
    problems
}

/// Temporary names end in what is chosen at random.
fn blank_random(name: &str) -> String {
    let last = name.rsplit(['.', '-']).next().unwrap_or_default();
    let random = last.len() >= 6 && last.len() < name.len();
    if random { format!("{}*", &name[..name.len() - last.len()]) } else { name.to_owned() }
}

fn refusal_problems(outcome: &Outcome, plain: &Outcome) -> Vec<String> {
    let mut problems = Vec::new();
    // The end of the pipe tells the caller of a failure; its cause is to be found somewhere.
    let told = outcome.report.is_some()
        || outcome.report_text.contains("-1")
        || said_something(outcome, plain);
    if !told || outcome.report_text.contains("(nothing came)") {
        problems.push("silence: the caller is not told what failed".into());
    }
    if !told && outcome.container_ran && outcome.exit_file.is_none() {
        problems.push("unmonitored: the container runs without a monitor".into());
    }
    problems
}

/// The container waited for what it did not get and was killed.
fn starvation_problems(outcome: &Outcome, plain: &Outcome, lasts: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let said = said_something(outcome, plain);
    if !said {
        problems.push("starved unsaid: the container does not get its input".into());
    }
    let seen = &outcome.exit_file;
    let forgiven = lasts && said && seen.is_none();
    if seen.as_deref() != Some(KILLED) && !forgiven {
        problems.push(format!("wrong record: exit file of a killed container says {seen:?}"));
    }
    problems
}

fn record_problems(outcome: &Outcome, plain: &Outcome, lasts: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let said = said_something(outcome, plain);
    let forgiven = lasts && said;
    let files = [
        ("exit file", &outcome.exit_file, &plain.exit_file),
        ("persist file", &outcome.persist_file, &plain.persist_file),
    ];
    for (which, seen, expected) in files {
        match (seen, expected) {
            (None, Some(_)) if !forgiven => problems.push(format!("no record: {which}")),
            (Some(seen), Some(expected)) if seen != expected => {
                problems.push(format!("wrong record: {which} says {seen:?}"));
            }
            _ => {}
        }
    }
    if let Some(late) = outcome.exit_file_ms.filter(|late| *late > RECORD_MS) {
        problems.push(format!("late record: after {late} ms"));
    }
    if outcome.exit_report != plain.exit_report && !said {
        problems.push(format!("wrong report: {:?}", outcome.exit_report));
    }
    if outcome.exit_commands != plain.exit_commands && !forgiven {
        problems.push(format!("exit command: ran {} times", outcome.exit_commands));
    }
    problems
}

fn is_whole(delivery: &Delivery) -> bool {
    delivery.right_bytes == delivery.expected_bytes && !delivery.differs
}

fn delivery_problems(outcome: &Outcome, plain: &Outcome) -> Vec<String> {
    let mut problems = Vec::new();
    if outcome.torn_records > plain.torn_records {
        problems.push(format!("torn: {} records of the log are none", outcome.torn_records));
    }
    let said = said_something(outcome, plain);
    for (reader, delivery) in &outcome.deliveries {
        let owed = plain.deliveries.get(reader).is_none_or(is_whole);
        if owed && !is_whole(delivery) && !said {
            let (right, expected) = (delivery.right_bytes, delivery.expected_bytes);
            let gap = if delivery.differs { ", then others" } else { "" };
            problems.push(format!("lost unsaid: {reader} has {right} of {expected} bytes{gap}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::outcome::{Call, Delivery, Role};
    use rstest::rstest;

    fn plain() -> Outcome {
        let whole = Delivery { expected_bytes: 10, right_bytes: 10, differs: false };
        Outcome {
            call_count: 200,
            reached: true,
            launched: Some(0),
            monitor: Some(3),
            monitor_ended_ms: Some(5),
            report: Some(9),
            container_ran: true,
            exit_file: Some("3".into()),
            exit_file_ms: Some(3),
            persist_file: Some("3".into()),
            exit_commands: 1,
            deliveries: [("log stdout".into(), whole)].into(),
            names: vec!["bundle/ctl".into()],
            ..Outcome::default()
        }
    }

    fn fault(for_ever: bool) -> Fault {
        let call =
            Call { role: Role::Monitor, name: "openat".into(), position: 1, detail: String::new() };
        Fault { call, errno: libc::EIO, for_ever }
    }

    fn loses(outcome: &mut Outcome) {
        let half = Delivery { expected_bytes: 10, right_bytes: 5, differs: false };
        outcome.deliveries.insert("log stdout".into(), half);
    }

    #[rstest]
    #[case::crash(|o: &mut Outcome| o.monitor = Some(134), "crash: ")]
    #[case::hang(|o: &mut Outcome| o.monitor_ended_ms = None, "hang: ")]
    #[case::spin(|o: &mut Outcome| o.call_count = 100_000, "spin: ")]
    #[case::cpu(|o: &mut Outcome| o.cpu_ms = 5000, "spin: ")]
    #[case::file(|o: &mut Outcome| o.names.push("tmp/conmon-term.A1B2C3".into()), "left file: tmp/conmon-term.*")]
    #[case::process(|o: &mut Outcome| o.processes.push("x".into()), "left process: x")]
    #[case::no_record(|o: &mut Outcome| o.exit_file = None, "no record: exit file")]
    #[case::no_second_record(|o: &mut Outcome| o.persist_file = None, "no record: persist file")]
    #[case::wrong_record(|o: &mut Outcome| o.exit_file = Some("0".into()), "wrong record: ")]
    #[case::late_record(|o: &mut Outcome| o.exit_file_ms = Some(9000), "late record: ")]
    #[case::exit_command(|o: &mut Outcome| o.exit_commands = 0, "exit command: ")]
    #[case::report(|o: &mut Outcome| o.exit_report = Some(1), "wrong report: ")]
    #[case::torn(|o: &mut Outcome| o.torn_records = 1, "torn: ")]
    #[case::lost(loses, "lost unsaid: log stdout has 5 of 10 bytes")]
    #[case::silence(|o: &mut Outcome| { o.report = None; o.container_ran = false }, "silence: ")]
    fn what_is_owed_is_missed(#[case] change: impl Fn(&mut Outcome), #[case] expected: &str) {
        let mut outcome = plain();
        change(&mut outcome);
        let verdict = judge(&outcome, &plain(), Some(&fault(false)));
        let Verdict::Wrong(problems) = verdict else { panic!("{verdict:?}") };
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
    }

    #[test]
    fn a_loss_that_is_said_is_none_and_a_record_only_when_the_fault_lasts() {
        let mut outcome = plain();
        outcome.said.push("dropped".into());
        loses(&mut outcome);
        assert_eq!(judge(&outcome, &plain(), Some(&fault(false))), Verdict::Survived);
        outcome.exit_file = None;
        assert_eq!(judge(&outcome, &plain(), Some(&fault(true))), Verdict::Survived);
        assert!(matches!(judge(&outcome, &plain(), Some(&fault(false))), Verdict::Wrong(_)));
    }

    #[test]
    fn a_starved_container_has_its_end_recorded() {
        let starved = Outcome {
            starved: true,
            exit_file: Some("137".into()),
            said: vec!["Failed to write to fd container stdin".into()],
            ..plain()
        };
        assert_eq!(judge(&starved, &plain(), Some(&fault(false))), Verdict::Survived);
        let unsaid = Outcome { said: Vec::new(), exit_file: None, ..starved };
        let verdict = judge(&unsaid, &plain(), Some(&fault(false)));
        assert!(matches!(verdict, Verdict::Wrong(problems) if problems.len() == 2));
    }

    #[test]
    fn a_name_that_cannot_be_removed_is_spoken_of() {
        let mut unlink = fault(false);
        unlink.call.name = "unlinkat".into();
        let left = Outcome { names: vec!["bundle/attach".into()], ..plain() };
        assert!(matches!(judge(&left, &plain(), Some(&unlink)), Verdict::Wrong(_)));
        let said = Outcome { said: vec!["Failed to remove".into()], ..left };
        assert_eq!(judge(&said, &plain(), Some(&unlink)), Verdict::Survived);
    }

    #[test]
    fn a_refusal_is_told_and_leaves_nothing() {
        let refused = Outcome {
            reached: true,
            launched: Some(0),
            monitor: Some(1),
            monitor_ended_ms: Some(5),
            report: Some(-1),
            ..Outcome::default()
        };
        assert_eq!(judge(&refused, &plain(), Some(&fault(false))), Verdict::Refused);
        let left = Outcome { names: vec!["bundle/attach".into()], ..refused };
        let expected = Verdict::Wrong(vec!["left file: bundle/attach".into()]);
        assert_eq!(judge(&left, &plain(), Some(&fault(false))), expected);
    }

    #[test]
    fn a_fault_that_was_not_met_says_nothing() {
        let outcome = Outcome { reached: false, ..plain() };
        assert_eq!(judge(&outcome, &plain(), Some(&fault(false))), Verdict::NotMet);
    }
}
