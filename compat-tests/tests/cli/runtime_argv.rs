//! What options mean to the runtime, as a stand-in for it sees them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rstest::rstest;

use super::harness::{Candidate, Reference, Run, Which};

/// Runs a line of options with a runtime that records its arguments and fails. `DIR` stands
/// for the working directory, which is also the default bundle.
fn recorded(which: Which, line: &str) -> Vec<String> {
    let run = Run::new(which, line.split_whitespace());
    let dir = run.path().canonicalize().unwrap();
    let runtime = dir.join("runtime");
    std::fs::write(
        &runtime,
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > argv.new\nmv argv.new argv\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o755)).unwrap();
    // The C program leaves its console socket behind when the runtime fails.
    let kept = run.env("TMPDIR", &dir).prints(1, "", "");
    let argv = std::fs::read_to_string(kept.path().join("argv")).unwrap();
    argv.lines().map(|arg| arg.replace(path_text(&dir), "DIR")).collect()
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const PREFIX: &str = "-c ID -u UUID -r ./runtime -l none --full-attach --sync";

#[rstest]
#[case::nothing_given("", "create --bundle DIR --pid-file DIR/pidfile-ID ID")]
#[case::bundle("-b .", "create --bundle . --pid-file DIR/pidfile-ID ID")]
#[case::last_bundle("-b /none --bundle=./", "create --bundle ./ --pid-file DIR/pidfile-ID ID")]
#[case::pid_file("-p p", "create --bundle DIR --pid-file p ID")]
#[case::pid_file_by_its_old_name("--pidfile=q", "create --bundle DIR --pid-file q ID")]
#[case::both_names_of_the_pid_file(
    "--pidfile a -p b --container-pidfile c --pidfile d",
    "create --bundle DIR --pid-file d ID"
)]
#[case::flags(
    "-s --no-pivot --no-new-keyring",
    "--systemd-cgroup create --bundle DIR --pid-file DIR/pidfile-ID --no-pivot --no-new-keyring ID"
)]
#[case::flags_in_other_order_with_values(
    "--no-new-keyring=0 --no-pivot=no --systemd-cgroup=",
    "--systemd-cgroup create --bundle DIR --pid-file DIR/pidfile-ID --no-pivot --no-new-keyring ID"
)]
#[case::flags_in_a_cluster_behind_a_value(
    "-bis .",
    "--systemd-cgroup create --bundle . --pid-file DIR/pidfile-ID ID"
)]
#[case::runtime_arguments(
    "--runtime-arg=--debug --runtime-arg --root=/r",
    "--debug --root=/r create --bundle DIR --pid-file DIR/pidfile-ID ID"
)]
#[case::runtime_options_under_both_names(
    "--runtime-opt=--a --restore-arg --b --runtime-opt --c",
    "create --bundle DIR --pid-file DIR/pidfile-ID --a --b --c ID"
)]
#[case::dashes_as_values(
    "--runtime-opt -- --runtime-arg -h",
    "-h create --bundle DIR --pid-file DIR/pidfile-ID -- ID"
)]
#[case::last_id("-c other --cid=last", "create --bundle DIR --pid-file DIR/pidfile-last last")]
#[case::restore(
    "--restore=/image",
    "restore --bundle DIR --pid-file DIR/pidfile-ID --detach --image-path /image --work-path DIR ID"
)]
#[case::restore_with_everything(
    "--restore /image -s --no-pivot --no-new-keyring --runtime-arg=--x --restore-arg=--y",
    "--systemd-cgroup --x restore --bundle DIR --pid-file DIR/pidfile-ID --no-pivot \
     --no-new-keyring --detach --image-path /image --work-path DIR --y ID"
)]
#[case::exec(
    "-e --exec-process-spec spec",
    "exec --pid-file DIR/pidfile-ID --process spec --detach ID"
)]
#[case::exec_with_everything(
    "-e --exec-process-spec spec -s --no-pivot --no-new-keyring -b . -p p --runtime-arg=--x --runtime-opt=--y",
    "--x exec --pid-file p --process spec --detach --y ID"
)]
fn create_restore_and_exec(
    #[case] more: &str,
    #[case] expected: &str,
    #[values(Reference, Candidate)] which: Which,
) {
    let expected: Vec<_> = expected.split_whitespace().collect();
    assert_eq!(recorded(which, &format!("{PREFIX} {more}")), expected);
}

#[rstest]
fn terminal(#[values(Reference, Candidate)] which: Which) {
    let argv = recorded(which, &format!("{PREFIX} -t"));
    let Some(at) = argv.iter().position(|arg| arg == "--console-socket") else {
        panic!("{argv:?}");
    };
    assert_eq!(argv[..at], ["create", "--bundle", "DIR", "--pid-file", "DIR/pidfile-ID"]);
    assert!(argv[at + 1].starts_with("DIR/conmon-term."), "{argv:?}");
    assert_eq!(argv[at + 2..], ["ID"]);
}

/// An empty path to restore from is still a path.
#[rstest]
fn restore_from_an_empty_path(#[values(Reference, Candidate)] which: Which) {
    let argv = recorded(which, &format!("{PREFIX} --restore="));
    assert_eq!(argv[0], "restore");
    assert_eq!(argv[6..8], ["--image-path", ""]);
}
