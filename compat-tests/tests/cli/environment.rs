//! The pipes that callers name in the environment.

use rstest::rstest;

use super::harness::{Candidate, Reference, Run, Which};

const LINE: [&str; 9] = ["-c", "x", "-u", "y", "-r", "/bin/false", "-l", "none", "--full-attach"];

fn run(which: Which, more: &[&str]) -> Run {
    Run::new(which, [&LINE, more].concat())
}

/// The C program ends its complaint with whatever errno holds; ours leaves that out.
fn not_a_number(which: Which, name: &str) -> String {
    let rest = match which {
        Reference => " Success",
        Candidate => "",
    };
    format!("[conmon:e]: unable to parse {name}{rest}\n")
}

#[rstest]
fn what_is_no_number(
    #[values("abc", "12x", "9 ", "0x5", " ", "1.5", "-", "1,2")] value: &str,
    #[values("_OCI_STARTPIPE", "_OCI_SYNCPIPE")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    run(which, &["--sync"]).env(name, value).prints(1, "", not_a_number(which, name));
}

#[rstest]
fn what_is_out_of_range(
    #[values("99999999999999999999", "-99999999999999999999")] value: &str,
    #[values("_OCI_STARTPIPE", "_OCI_SYNCPIPE")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let text = format!("[conmon:e]: unable to parse {name} Numerical result out of range\n");
    run(which, &["--sync"]).env(name, value).prints(1, "", text);
}

#[rstest]
fn what_is_no_open_descriptor(
    #[values("99", " 99", "+99", "099", "-1", "2147483647")] value: &str,
    #[values("_OCI_STARTPIPE", "_OCI_SYNCPIPE")] name: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let text = format!("[conmon:e]: unable to make {name} CLOEXEC Bad file descriptor\n");
    run(which, &["--sync"]).env(name, value).prints(1, "", text);
}

/// The start pipe is looked at before the monitor goes to the background.
#[rstest]
fn a_bad_start_pipe_is_an_error_to_the_caller(#[values(Reference, Candidate)] which: Which) {
    let name = "_OCI_STARTPIPE";
    run(which, &[]).env(name, "abc").prints(1, "", not_a_number(which, name));
}

/// The sync pipe is looked at in the background; the words still reach the caller.
#[rstest]
fn a_bad_sync_pipe_is_no_error_to_the_caller(#[values(Reference, Candidate)] which: Which) {
    let name = "_OCI_SYNCPIPE";
    run(which, &[]).env(name, "abc").prints(0, "", not_a_number(which, name));
}

#[rstest]
fn the_start_pipe_comes_first(#[values(Reference, Candidate)] which: Which) {
    let run = run(which, &["--sync"]).env("_OCI_SYNCPIPE", "abc").env("_OCI_STARTPIPE", "12x");
    run.prints(1, "", not_a_number(which, "_OCI_STARTPIPE"));
}

#[rstest]
fn options_come_before_the_environment(#[values(Reference, Candidate)] which: Which) {
    let text = "[conmon:e]: No such log driver a\n";
    run(which, &["-l", "a:b"]).env("_OCI_STARTPIPE", "abc").prints(1, "", text);
}

/// An empty value counts as descriptor 0, and the start pipe must be above that.
#[rstest]
fn an_empty_start_pipe_is_ignored(#[values(Reference, Candidate)] which: Which) {
    run(which, &["--sync"]).env("_OCI_STARTPIPE", "").prints(1, "", "");
}

/// The attach pipe is looked at for an attached exec session alone.
#[rstest]
fn a_bad_attach_pipe_is_ignored_otherwise(#[values(Reference, Candidate)] which: Which) {
    run(which, &["--sync"]).env("_OCI_ATTACHPIPE", "abc").prints(1, "", "");
}

const ATTACHED: [&str; 6] =
    ["--sync", "--api-version", "-e", "--exec-attach", "--exec-process-spec", "z"];

#[rstest]
fn a_bad_attach_pipe(#[values(Reference, Candidate)] which: Which) {
    let text = "[conmon:e]: unable to make _OCI_ATTACHPIPE CLOEXEC Bad file descriptor\n";
    run(which, &ATTACHED).env("_OCI_ATTACHPIPE", "99").prints(1, "", text);
}

/// Which errno the C program appends here depends on the host; the rest is pinned.
#[rstest]
fn an_attached_session_needs_its_pipe(#[values(Reference, Candidate)] which: Which) {
    let text = "[conmon:e]: --attach specified but _OCI_ATTACHPIPE was not";
    match which {
        Candidate => {
            run(which, &ATTACHED).prints(1, "", format!("{text}\n"));
        }
        Reference => {
            let stderr = run(which, &ATTACHED).stderr_of_failure();
            assert!(stderr.starts_with(text) && stderr.ends_with('\n'), "{stderr:?}");
        }
    }
}
