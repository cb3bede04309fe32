//! The suite notices a broken monitor: each fault of `faults/faults.rs`, put into the C
//! reference, is reported by the scenario named beside it, and the reference without a fault
//! passes them all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};

use conmon_compat::host::Host;
use conmon_compat::host::subject::Subject;
use conmon_compat::report::text;
use conmon_compat::scenario::{RuntimeKind, Scenario};
use conmon_compat::suite::{Outcome, Source, Suite, Task, TaskResult};
use conmon_compat::world::programs::Fault;
use rstest::rstest;

const REFERENCE: &str = "/usr/bin/conmon";
const PLAIN: &str = "lifecycle/exit_status_is_reported";
const ATTACH: &str = "attach/stdin_reaches_the_container";
const JOURNAL: &str = "logging/journald_fields";

/// Seconds; enough for a run, and little for the faults that end in a wait for ever.
const DEADLINE: f64 = 8.0;

fn run(fault: Option<&str>, scenario: &str) -> Option<Outcome> {
    let library = PathBuf::from(env!("CONMON_COMPAT_FAULTS"));
    let host = Host::look();
    let able = nix::unistd::geteuid().is_root() && library.exists();
    if !able || host.crun.is_none() || !Path::new(REFERENCE).exists() {
        eprintln!("skipped: this needs root, crun, {REFERENCE} and the library of faults");
        return None;
    }
    let path = format!("{}/../fixtures/scenarios/{scenario}.toml", env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(Path::new(&path)).unwrap_or_else(|refusal| panic!("{refusal}"));
    let reference = Subject::check(Path::new(REFERENCE)).unwrap();
    let suite = Suite {
        program: env!("CARGO_BIN_EXE_conmon-compat").into(),
        host,
        reference: Source::Run(reference.clone()),
        candidate: reference,
        known: Vec::new(),
        judge_candidate: false,
        fault: fault.map(|name| Fault { library, name: name.into() }),
        deadline: Some(DEADLINE),
    };
    Some(suite.run_one(&Task { scenario: scenario.into(), runtime: RuntimeKind::Crun }))
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
    let Some(outcome) = run(Some(fault), scenario) else { return };
    let reported = match &outcome.result {
        TaskResult::Judged { verdict, .. } => !verdict.is_good(),
        TaskResult::Broken(reason) => panic!("{reason}"),
        TaskResult::Skipped(_) => return,
    };
    assert!(reported, "nothing was said about {fault}");
}

/// The library itself must not be what is noticed.
#[rstest]
fn the_library_without_a_fault_is_not_reported(
    #[values(PLAIN, ATTACH, JOURNAL, "control/resize_reaches_the_terminal")] scenario: &str,
) {
    let Some(outcome) = run(Some("none"), scenario) else { return };
    assert!(outcome.is_good(), "{}", text::details(&outcome, &[], false));
}
