//! The suite notices a broken monitor: each fault of `faults/faults.rs`, put into the C
//! reference, is reported by the case named beside it, and the reference without a fault
//! passes them all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "common/once.rs"]
mod once;
#[path = "common/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use conmon_compat::case::{Case, CaseResult, Comparison, Judged, Outcome, Source};
use conmon_compat::host::Host;
use conmon_compat::host::subject::Subject;
use conmon_compat::report::text;
use conmon_compat::scenario::{RuntimeKind, Scenario};
use conmon_compat::tables;
use conmon_compat::world::programs::Fault;
use once::Memory;
use rstest::rstest;
use skip::skipped;

const REFERENCE: &str = "/usr/bin/conmon";
const PLAIN: &str = "lifecycle/exit_status_is_reported";
const ATTACH: &str = "attach/stdin_reaches_the_container";
const JOURNAL: &str = "logging/journald_fields";

/// Seconds; enough for a run, and little for the faults that end in a wait for ever.
const DEADLINE: f64 = 8.0;

/// What all tests share: the reference, which is also what faults are put into.
struct Lab {
    reference: Subject,
    host: Host,
    memory: Arc<Memory>,
}

impl Lab {
    fn get() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(|| Self {
            reference: Subject::check(Path::new(REFERENCE)).unwrap(),
            host: Host::look(),
            memory: Arc::default(),
        })
    }

    /// The case of this name with crun.
    fn case(&self, name: &str) -> Arc<dyn Case> {
        let case = if name.starts_with("crio/") {
            let cases = tables::crio::table(&[RuntimeKind::Crun]).cases;
            cases.into_iter().find(|case| case.name() == name).unwrap()
        } else {
            let path = format!("../fixtures/scenarios/{name}.toml");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            tables::scenarios::case(Scenario::load(&path).unwrap().into(), RuntimeKind::Crun)
        };
        self.memory.case(case)
    }
}

fn run(fault: &str, name: &str) -> Option<Outcome> {
    let library = PathBuf::from(env!("CONMON_COMPAT_FAULTS"));
    if !nix::unistd::geteuid().is_root() || !library.exists() || !Path::new(REFERENCE).exists() {
        skipped(&format!("this needs root, {REFERENCE} and the library of faults"));
        return None;
    }
    let lab = Lab::get();
    let case = lab.case(name);
    if let Some(lack) = case.lack(&lab.host) {
        skipped(&lack);
        return None;
    }
    let program = env!("CARGO_BIN_EXE_conmon-compat").into();
    let reference = Source::Run(lab.reference.clone());
    let mut comparison = Comparison::new(program, reference, lab.reference.clone(), Vec::new());
    comparison.fault = Some(Fault { library, name: fault.into() });
    comparison.deadline = Some(DEADLINE);
    Some(comparison.play(&case))
}

#[rstest]
#[case::partial_tag("partial-tag", PLAIN)]
#[case::stream_name("stream-name", PLAIN)]
#[case::lost_line("lost-line", PLAIN)]
#[case::doubled_line("doubled-line", PLAIN)]
#[case::missing_newline("missing-newline", PLAIN)]
#[case::wrong_zone("wrong-zone", PLAIN)]
#[case::short_fraction("short-fraction", PLAIN)]
#[case::time_goes_back("time-goes-back", PLAIN)]
#[case::log_mode("log-mode", PLAIN)]
#[case::sync_key("sync-key", PLAIN)]
#[case::sync_newline("sync-newline", PLAIN)]
#[case::sync_lost("sync-lost", PLAIN)]
#[case::exit_code("exit-code", PLAIN)]
#[case::exit_newline("exit-newline", PLAIN)]
#[case::exit_not_atomic("exit-not-atomic", PLAIN)]
#[case::exit_file_missing("exit-file-missing", PLAIN)]
#[case::persist_exit_missing("persist-exit-missing", PLAIN)]
#[case::pidfile_missing("pidfile-missing", PLAIN)]
#[case::attach_left("attach-left", PLAIN)]
#[case::attach_mode("attach-mode", PLAIN)]
#[case::fifo_mode("fifo-mode", PLAIN)]
#[case::leaked_descriptor("leaked-descriptor", PLAIN)]
#[case::no_session("no-session", PLAIN)]
#[case::stderr_kept("stderr-kept", PLAIN)]
#[case::sigpipe_kept("sigpipe-kept", PLAIN)]
#[case::runtime_environment("runtime-environment", PLAIN)]
#[case::exit_command_argument("exit-command-argument", PLAIN)]
#[case::dies_at_the_end("dies-at-the-end", PLAIN)]
#[case::attach_stream("attach-stream", ATTACH)]
#[case::attach_lost("attach-lost", ATTACH)]
#[case::attach_untyped("attach-untyped", ATTACH)]
#[case::signal_swallowed("signal-swallowed", "signals/term_is_forwarded")]
#[case::winsize_swapped("winsize-swapped", "control/resize_reaches_the_terminal")]
#[case::socket_link("socket-link", "callers/crio_create_and_exec_sync")]
#[case::notify_changed("notify-changed", "sdnotify/ready_is_relayed")]
#[case::journal_order("journal-order", JOURNAL)]
#[case::journal_field_lost("journal-field-lost", JOURNAL)]
#[case::oom_missing("oom-missing", "oom/kill_is_recorded")]
#[case::kills_nobody("kills-nobody", "timeouts/timeout_kills_the_container")]
fn a_fault_is_reported(#[case] fault: &str, #[case] scenario: &str) {
    let Some(outcome) = run(fault, scenario) else { return };
    let reported = match &outcome.result {
        CaseResult::Judged(judged) => !judged.verdict.is_good(),
        CaseResult::Broken(reason) => panic!("{reason}"),
        CaseResult::Skipped(_) => return,
    };
    assert!(reported, "nothing was said about {fault}");
}

/// What CRI-O needs is not given, so equal monitors would not pass either.
#[rstest]
#[case::exit_newline("exit-newline", "crio/create/reports-the-pid")]
#[case::persist_exit_missing("persist-exit-missing", "crio/create/reports-the-pid")]
#[case::sync_lost("sync-lost", "crio/create/reports-the-pid")]
#[case::missing_newline("missing-newline", "crio/log/has-the-form-of-the-cri")]
#[case::short_fraction("short-fraction", "crio/log/has-the-form-of-the-cri")]
#[case::attach_stream("attach-stream", "crio/attach/tells-the-streams-apart")]
#[case::winsize_swapped("winsize-swapped", "crio/attach/resizes-the-terminal")]
#[case::socket_link("socket-link", "crio/attach/tells-the-streams-apart")]
#[case::kills_nobody("kills-nobody", "crio/exec/times-out")]
#[case::sigpipe_kept("sigpipe-kept", "crio/stop/survives-the-kill-signal-of-its-scope")]
fn cri_o_does_not_get_what_it_needs(#[case] fault: &str, #[case] case: &str) {
    let Some(outcome) = run(fault, case) else { return };
    let missed = |judged: &Judged| {
        judged.verdict.broken.iter().all(|text| text.starts_with("candidate: "))
            && !judged.verdict.broken.is_empty()
    };
    assert!(
        matches!(&outcome.result, CaseResult::Judged(judged) if missed(judged)),
        "nothing was said about {fault}: {}",
        text::story(&outcome, &[])
    );
}

/// The library itself must not be what is noticed.
#[rstest]
fn the_library_without_a_fault_is_not_reported(
    #[values(
        PLAIN,
        ATTACH,
        JOURNAL,
        "control/resize_reaches_the_terminal",
        "crio/create/reports-the-pid",
        "crio/attach/resizes-the-terminal"
    )]
    case: &str,
) {
    let Some(outcome) = run("none", case) else { return };
    assert!(outcome.is_good(), "{}", text::story(&outcome, &[]));
}
