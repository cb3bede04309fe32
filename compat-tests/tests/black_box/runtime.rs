//! How the OCI runtime is called: arguments, environment, descriptors and the rest.

use crate::facts::parse_mask;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{CID, Monitor, World};
use rstest::rstest;
use serde_json::Value;
use std::fs;
use std::os::fd::OwnedFd;

/// A world whose runtime is recorded.
fn recorded(subject: Subject) -> World {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    world.record_runtime();
    world
}

/// Starts the monitor and returns what its runtime recorded.
fn call(world: &World, monitor: Monitor) -> Value {
    let mut monitor = monitor.start();
    monitor.ended();
    world.record("calls")
}

/// The arguments after the program, with this world's paths as names in braces.
fn arguments(world: &World, call: &Value) -> String {
    let words: Vec<&str> =
        call["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[0], world.text("rt"));
    let mut line = words[1..].join(" ");
    if let Some(at) = words.iter().position(|word| *word == "--console-socket") {
        let socket = words[at + 1];
        assert!(socket.starts_with(&world.text("tmp/conmon-term.")), "{socket}");
        line = line.replace(socket, "{socket}");
    }
    for name in ["bundle", "pidfile", "process.json", "."] {
        line = line.replace(&world.text(name), &format!("{{{name}}}"));
    }
    line.replace(CID, "{cid}")
}

#[rstest]
#[case::plain("", "create --bundle {bundle} --pid-file {pidfile} {cid}")]
#[case::systemd("-s", "--systemd-cgroup create --bundle {bundle} --pid-file {pidfile} {cid}")]
#[case::global_arguments(
    "--runtime-arg --log --runtime-arg=x -s",
    "--systemd-cgroup --log x create --bundle {bundle} --pid-file {pidfile} {cid}"
)]
#[case::flags(
    "--no-new-keyring --no-pivot",
    "create --bundle {bundle} --pid-file {pidfile} --no-pivot --no-new-keyring {cid}"
)]
#[case::options(
    "--runtime-opt --preserve-fds --runtime-opt 2",
    "create --bundle {bundle} --pid-file {pidfile} --preserve-fds 2 {cid}"
)]
#[case::terminal(
    "-t --runtime-opt=o",
    "create --bundle {bundle} --pid-file {pidfile} o --console-socket {socket} {cid}"
)]
#[case::restore(
    "--restore /image --runtime-opt=a --restore-arg=b -s --no-pivot",
    "--systemd-cgroup restore --bundle {bundle} --pid-file {pidfile} --no-pivot --detach \
     --image-path /image --work-path {bundle} a b {cid}"
)]
fn create_and_restore_are_called_with(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] options: &str,
    #[case] expected: &str,
) {
    let world = recorded(subject);
    let options: Vec<&str> = options.split_whitespace().collect();
    let call = call(&world, world.create().with(&options).sync_pipe());
    assert_eq!(arguments(&world, &call), expected);
}

#[rstest]
#[case::plain("", "exec --pid-file {pidfile} --process {process.json} --detach {cid}")]
#[case::no_systemd_cgroup_nor_flags(
    "-s --no-pivot --runtime-arg=g --runtime-opt=o",
    "g exec --pid-file {pidfile} --process {process.json} --detach o {cid}"
)]
fn exec_is_called_with(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] options: &str,
    #[case] expected: &str,
) {
    let world = recorded(subject);
    let options: Vec<&str> = options.split_whitespace().collect();
    let call = call(&world, world.exec().with(&options).sync_pipe());
    assert_eq!(arguments(&world, &call), expected);
}

/// docs/reference-notes.md: `--tty` went away in 2.1.11.
#[rstest]
#[case::reference(Reference, "--detach --tty --console-socket")]
#[case::candidate(Candidate, "--detach --console-socket")]
fn exec_with_a_terminal(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    world.record_runtime();
    let call = call(&world, world.exec().with(&["-t"]).sync_pipe());
    let line = arguments(&world, &call);
    assert!(line.contains(expected), "{line}");
}

#[rstest]
fn the_pid_file_is_in_the_working_directory_by_default(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = recorded(subject);
    let there = fs::canonicalize(world.path("sockets")).unwrap();
    let monitor = world.create().without("-p").current_dir(&there).sync_pipe();
    let line = arguments(&world, &call(&world, monitor));
    let path = there.join("pidfile-{cid}");
    assert_eq!(line, format!("create --bundle {{bundle}} --pid-file {} {{cid}}", path.display()));
}

/// The reference's default is a dangling pointer up to 2.2.1, so it cannot be asked.
#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let world = recorded(Candidate);
    let there = fs::canonicalize(world.path("sockets")).unwrap();
    let monitor = world.create().without("-b").current_dir(&there).sync_pipe();
    let line = arguments(&world, &call(&world, monitor));
    assert!(line.starts_with(&format!("create --bundle {} ", there.display())), "{line}");
}

#[rstest]
fn the_environment_is_passed_on_whole(#[values(Reference, Candidate)] subject: Subject) {
    let world = recorded(subject);
    let monitor = world.create().env("EMPTY", "").env("TEXT", "a=b c").sync_pipe();
    let call = call(&world, monitor);
    let environment: Vec<&str> =
        call["env"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    for variable in ["EMPTY=", "TEXT=a=b c", "_OCI_SYNCPIPE=200", "PATH=/usr/bin:/bin"] {
        assert!(environment.contains(&variable), "{variable} in {environment:?}");
    }
    assert_eq!(call["cwd"], fs::canonicalize(world.path(".")).unwrap().to_str().unwrap());
}

#[rstest]
fn dies_with_the_monitor(#[values(Reference, Candidate)] subject: Subject) {
    let world = recorded(subject);
    let call = call(&world, world.create().sync_pipe());
    assert_eq!(call["pdeathsig"], libc::SIGKILL);
}

#[rstest]
#[case::without_stdin("", ["null", "pipe", "pipe"])]
#[case::with_stdin("-i", ["pipe", "pipe", "pipe"])]
#[case::terminal("-t", ["null", "null", "pipe"])]
#[case::terminal_and_stdin("-t -i", ["null", "null", "pipe"])]
fn standard_descriptors_are(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] options: &str,
    #[case] expected: [&str; 3],
) {
    let world = recorded(subject);
    let options: Vec<&str> = options.split_whitespace().collect();
    let call = call(&world, world.create().with(&options).sync_pipe());
    let kinds = [0, 1, 2].map(|fd| call["stdio"][fd]["kind"].as_str().unwrap());
    assert_eq!(kinds, expected);
    let access = [0, 1, 2].map(|fd| call["stdio"][fd]["access"].as_str().unwrap());
    assert_eq!(access, ["r", "w", "w"]);
    let nonblocking = [0, 1, 2].map(|fd| call["stdio"][fd]["nonblocking"].as_bool().unwrap());
    assert_eq!(nonblocking, [false; 3]);
}

/// docs/reference-notes.md: since 2.1.8 a container of any user may reopen `/dev/stdout`.
#[rstest]
#[case::reference(Reference, "0600")]
#[case::candidate(Candidate, "0777")]
fn pipes_have_the_mode(#[case] subject: Subject, #[case] expected: &str) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    world.record_runtime();
    let call = call(&world, world.create().with(&["-i"]).sync_pipe());
    let modes = [0, 1, 2].map(|fd| call["stdio"][fd]["mode"].as_str().unwrap());
    assert_eq!(modes, [expected; 3]);
}

#[rstest]
fn passthrough_leaves_the_callers_descriptors(#[values(Reference, Candidate)] subject: Subject) {
    let world = recorded(subject);
    world.container(&["say", "straight through"]);
    let monitor = world.create().without("-l").with(&["-l", "passthrough"]).sync_pipe();
    let call = call(&world, monitor);
    let targets = [0, 1, 2].map(|fd| call["stdio"][fd]["target"].as_str().unwrap());
    assert_eq!(targets, ["/dev/null", &world.text("stdout"), &world.text("stderr")]);
    crate::facts::await_fact("the output", || {
        (fs::read_to_string(world.path("stdout")).unwrap() == "straight through\n").then_some(())
    });
}

/// The caller's own descriptors reach the runtime, the monitor's do not.
#[rstest]
fn inherits_what_the_caller_left_open_and_nothing_else(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = recorded(subject);
    let mut monitor = world.create().with(&["-i"]).sync_pipe().start_pipe();
    let extra = monitor.inherit(OwnedFd::from(fs::File::open("/dev/zero").unwrap()));
    let mut monitor = monitor.start();
    monitor.start_pipe().send(b"x");
    monitor.ended();
    let call = world.record("calls");
    let numbers: Vec<i64> =
        call["fds"].as_array().unwrap().iter().map(|fd| fd["fd"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [i64::from(extra)], "{}", call["fds"]);
}

/// docs/reference-notes.md: 2.1.6 sets the score to 0, whatever it was.
#[rstest]
#[case::reference(Reference, 0)]
#[case::candidate(Candidate, 300)]
fn the_oom_score_is_the_callers(#[case] subject: Subject, #[case] expected: i64) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    world.record_runtime();
    let call = call(&world, world.create().oom_score_adj(300).sync_pipe());
    assert_eq!(call["oom_score_adj"], expected);
}

/// What `LISTEN_PID` a runtime finds.
#[derive(Clone, Copy, Debug)]
enum ListenPid {
    Its,
    Kept(&'static str),
}

#[rstest]
#[case::foreign("1", "", ListenPid::Kept("1"))]
#[case::trailing_junk("1x", "", ListenPid::Kept("1x"))]
#[case::replaced("1", "--replace-listen-pid", ListenPid::Its)]
fn listen_pid_is(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] value: &str,
    #[case] options: &str,
    #[case] expected: ListenPid,
) {
    let world = recorded(subject);
    let options: Vec<&str> = options.split_whitespace().collect();
    let monitor = world.create().with(&options).env("LISTEN_PID", value).sync_pipe();
    check_listen_pid(&call(&world, monitor), expected);
}

#[rstest]
fn listen_pid_moves_from_the_monitor_to_the_runtime(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = recorded(subject);
    let monitor = world.create().with(&["--sync"]).listen_pid_of_itself().sync_pipe();
    check_listen_pid(&call(&world, monitor), ListenPid::Its);
}

fn check_listen_pid(call: &Value, expected: ListenPid) {
    let variables = call["env"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let found: Vec<&str> = variables.filter_map(|v| v.strip_prefix("LISTEN_PID=")).collect();
    match expected {
        ListenPid::Its => assert_eq!(found, [call["pid"].to_string()]),
        ListenPid::Kept(value) => assert_eq!(found, [value]),
    }
}

#[rstest]
#[case::text("abcdefghijklmn", "abcdefghij")]
#[case::zero("0", "0")]
#[case::negative("-4", "-4")]
fn an_invalid_listen_pid_is_reported(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] value: &str,
    #[case] quoted: &str,
) {
    let world = recorded(subject);
    let monitor = world.create().env("LISTEN_PID", value).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    let start = format!("{{\"data\": -1, \"message\": \"[conmon:e]: Invalid LISTEN_PID {quoted}");
    assert!(report.starts_with(&start), "{report}");
}

/// F17: the errno of something else.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn an_invalid_listen_pid_is_called_a_success(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    let monitor = world.create().env("LISTEN_PID", "x").sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    assert_eq!(report.contains("Success"), expected, "{report}");
}

#[rstest]
fn is_not_stopped_by_signals_its_monitor_has_blocked(
    #[values(Reference, Candidate)] subject: Subject,
) {
    let world = recorded(subject);
    let call = call(&world, world.create().with(&["-t"]).sync_pipe());
    assert_eq!(parse_mask(call["sig_blocked"].as_str().unwrap()), 0);
}
