//! The notify proxy.

use crate::facts::{DEADLINE, alive, await_fact, await_file, await_settled};
use crate::peer::Peer;
use crate::refusing::has_strace;
use crate::reports::fill;
use crate::skip::skipped;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

const LAST: &str = "READY=1";

/// What reaches the host's socket of a container's datagrams, up to a last `READY=1`.
///
/// `absent` is the number of datagrams before the host's socket exists.
fn relayed(world: &World, datagrams: &[&str], absent: usize) -> Vec<String> {
    let (go, hex) = (world.text("go"), |text: &str| {
        text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    let datagrams: Vec<String> = datagrams.iter().map(|text| hex(text)).collect();
    let mut verbs = Vec::new();
    for (number, datagram) in datagrams.iter().enumerate() {
        if number == absent {
            verbs.extend(["touch", "sent", "wait-file", &go]);
        }
        verbs.extend(["notify-raw", datagram]);
    }
    verbs.extend(["notify", LAST, "sleep-forever"]);
    world.container(&verbs);
    fs::create_dir(world.path("bundle/notify")).unwrap();
    let host = world.text("host.sock");
    let monitor = world
        .create()
        .with(&["--sdnotify-socket", &host])
        .env("NOTIFY_SOCKET", world.path("bundle/notify/notify.sock"))
        .sync_pipe()
        .start();
    monitor.container();
    if absent > 0 {
        await_fact("the first datagrams", || world.path("sent").exists().then_some(()));
        crate::facts::await_settled(monitor.pid());
    }
    let socket = UnixDatagram::bind(&host).unwrap();
    socket.set_read_timeout(Some(DEADLINE / 10)).unwrap();
    fs::write(go, "").unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = socket.recv(&mut buffer) {
        let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
        let last = text == LAST;
        all.push(text);
        if last {
            break;
        }
    }
    all
}

#[rstest]
#[case::watchdog(&["WATCHDOG=1"], &["WATCHDOG=1", LAST])]
#[case::foreign(&["MAINPID=1", "FDSTORE=1"], &[LAST])]
fn passes_on(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] datagrams: &[&str],
    #[case] expected: &[&str],
) {
    assert_eq!(relayed(&World::new(subject), datagrams, 0), expected);
}

/// docs/reference-notes.md: 2.1.6 looks for two words anywhere in the text.
#[rstest]
#[case::status(&["STATUS=half done\nMAINPID=4"], &["STATUS=half done", LAST])]
#[case::several(
    &["MAINPID=1\nRELOADING=1\nMONOTONIC_USEC=12\r\nX=1\nERRNO=2"],
    &["RELOADING=1\nMONOTONIC_USEC=12\nERRNO=2", LAST]
)]
#[case::only_whole_lines(&["XREADY=1", "READY=12", " READY=1", "STOPPING=0"], &[LAST])]
#[case::up_to_a_nul(&["STATUS=a\0STATUS=b"], &["STATUS=a", LAST])]
#[case::bus_error(&["BUSERROR=x\n\nWATCHDOG=trigger\n"], &["BUSERROR=x\nWATCHDOG=trigger", LAST])]
fn lines_that_pass(#[case] datagrams: &[&str], #[case] expected: &[&str]) {
    assert_eq!(relayed(&World::new(Candidate), datagrams, 0), expected);
}

/// E1: the original closes its socket at an empty datagram.
#[rstest]
#[case::reference(Reference, &[])]
#[case::candidate(Candidate, &[LAST])]
fn after_an_empty_datagram(#[case] subject: Subject, #[case] expected: &[&str]) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    assert_eq!(relayed(&world, &["", "MAINPID=1"], 0), expected);
}

/// E2: the original gives up after one failure to send.
#[rstest]
#[case::reference(Reference, &[])]
#[case::candidate(Candidate, &["WATCHDOG=1", LAST])]
fn after_a_time_without_host_socket(#[case] subject: Subject, #[case] expected: &[&str]) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    assert_eq!(relayed(&world, &["READY=1", "WATCHDOG=1"], 1), expected);
}

#[rstest]
fn the_proxys_socket_is_for_everybody(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["sleep-forever"]);
    fs::create_dir(world.path("bundle/notify")).unwrap();
    fs::write(world.path("bundle/notify/notify.sock"), "leftover").unwrap();
    let monitor = world.create().with(&["--sdnotify-socket", "/none"]).sync_pipe().start();
    monitor.container();
    let socket = fs::metadata(world.path("bundle/notify/notify.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o7777, 0o777);
}

#[rstest]
fn a_missing_directory_is_told(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["exit", "0"]);
    let monitor = world.create().with(&["--sdnotify-socket", "/none", "--sync"]).sync_pipe();
    let launched = monitor.start().launched();
    assert_eq!(launched.status, Some(1));
    let text = "No such file or directory";
    assert!(launched.stderr.contains(text), "{}", launched.stderr);
    assert!(!world.path("pidfile").exists());
}

/// A short-lived service says that it is ready and ends before the monitor has another look:
/// here the monitor still waits for its caller to take the report of the creation.
#[test]
fn the_last_words_are_passed_on() {
    let world = World::new(Candidate);
    let (running, go) = (world.text("running"), world.text("go"));
    world.container(&["touch", &running, "wait-file", &go, "notify", LAST, "exit", "0"]);
    fs::create_dir(world.path("bundle/notify")).unwrap();
    let host = world.text("host.sock");
    let socket = UnixDatagram::bind(&host).unwrap();
    socket.set_read_timeout(Some(DEADLINE / 10)).unwrap();
    let (ours, theirs) = Peer::pair();
    let stuffing = fill(&theirs);
    let mut monitor = world.create().with(&["--sync", "--sdnotify-socket", &host]);
    let number = monitor.inherit(theirs);
    let monitor = monitor
        .env("NOTIFY_SOCKET", world.path("bundle/notify/notify.sock"))
        .env("_OCI_SYNCPIPE", number.to_string())
        .start();
    await_file(&world.path("running"));
    let container = await_file(&world.path("pidfile")).parse().unwrap();
    await_settled(monitor.pid());
    fs::write(&go, "").unwrap();
    await_fact("the container's end", || (!alive(container)).then_some(()));
    for _ in 0..stuffing {
        ours.receive();
    }
    let mut buffer = [0; 100];
    let heard = socket.recv(&mut buffer).map(|length| &buffer[..length]);
    assert_eq!(heard.unwrap(), LAST.as_bytes());
    assert_eq!(monitor.exit_file(), "0");
}

/// E4: whoever holds the directory may put another file in the place of the name.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn the_mode_is_set_by_name(#[case] subject: Subject, #[case] expected: bool) {
    if !has_strace() {
        return;
    }
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    fs::create_dir(world.path("bundle/notify")).unwrap();
    let trace = world.path("trace");
    let strace =
        format!("exec strace -D -qq -f -o {} -e trace=bind,chmod,fchmodat \"$@\"", trace.display());
    let host = world.text("host");
    let mut monitor = world.create().with(&["--sdnotify-socket", &host]).after(&strace).start();
    monitor.ended();
    monitor.exit_file();
    let calls = fs::read_to_string(trace).unwrap_or_default();
    if !calls.contains("notify.sock") {
        skipped("processes cannot be traced here");
        return;
    }
    let by_name = |line: &str| line.contains("chmod") && line.contains("notify.sock");
    assert_eq!(calls.lines().any(by_name), expected, "{calls}");
}

/// The same with somebody who does so while the monitor starts; `CONMON_RACE_STARTS` says how often.
/// At every third start the monitor is held when the name is there, as long as somebody needs.
#[test]
fn nobody_gets_another_file_opened_by_a_race() {
    let starts = std::env::var("CONMON_RACE_STARTS").map_or(20, |text| text.parse().unwrap());
    let held = "exec strace -D -qq -f -o /dev/null -e trace=bind \
                -e inject=bind:delay_exit=30000 \"$@\"";
    let (mut opened, mut swapped) = (0, 0);
    for start in 0..starts {
        let world = World::new(Candidate);
        world.container(&["exit", "0"]);
        fs::create_dir(world.path("bundle/notify")).unwrap();
        let (victim, socket) = (world.path("victim"), world.path("bundle/notify/notify.sock"));
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let bound = fs::symlink_metadata(&socket);
                    if bound.is_ok_and(|found| found.file_type().is_socket()) {
                        let _ = fs::remove_file(&socket);
                        let _ = symlink(&victim, &socket);
                    }
                }
            });
            let host = world.text("host");
            let options = ["--sdnotify-socket", &host, "--sync"];
            let monitor = world.create().with(&options);
            let monitor = if start % 3 == 0 { monitor.after(held) } else { monitor };
            monitor.start().ended();
            over.store(true, Ordering::Relaxed);
        });
        swapped += usize::from(fs::read_link(&socket).is_ok());
        opened += usize::from(fs::metadata(&victim).unwrap().mode() & 0o7777 != 0o600);
    }
    assert_eq!(opened, 0, "of {starts} starts");
    assert!(swapped > 0, "nobody has put another file there");
}
