//! The record of the exit when the machine does not play along: full tables, full disks, calls
//! that are refused.

use crate::facts::{A_WHILE, await_fact, await_file, await_settled, cpu_time, descriptors};
use crate::peer::{Peer, Received};
use crate::refusing::{Refusing, has_strace};
use crate::running::Running;
use crate::skip::skipped;
use crate::subject::Subject::Candidate;
use crate::sys;
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// How long the callers of a monitor wait for the record.
const RECORD_IN_TIME: Duration = Duration::from_secs(5);

/// A monitor whose container waits for the file `go` and then does what `verbs` say.
fn waiting<'w>(world: &'w World, verbs: &[&str], options: &[&str]) -> Running<'w> {
    let go = world.text("go");
    let mut all = vec!["wait-file", &go];
    all.extend(verbs);
    world.container(&all);
    let mut monitor = world.create().with(options).sync_pipe().start();
    monitor.ended();
    monitor.container();
    await_settled(monitor.pid());
    monitor
}

/// Both exit files say `code`, in time.
#[track_caller]
fn assert_recorded(world: &World, monitor: &Running, code: &str) {
    assert_eq!(monitor.exit_file_within(RECORD_IN_TIME).as_deref(), Some(code));
    assert_eq!(fs::read_to_string(world.path("persist/exit")).unwrap(), code);
    for directory in ["exits", "persist"] {
        let names = fs::read_dir(world.path(directory)).unwrap();
        assert_eq!(names.count(), 1, "nothing but the exit file stays in {directory}");
    }
}

/// Clients take all descriptors there are, and do not read what is sent to them. Some of the
/// output waits in the pipe; while it is passed on, more clients take what the end set free.
#[test]
fn a_full_table_of_descriptors_costs_no_exit_file() {
    let world = World::new(Candidate);
    let go = world.text("go");
    // The streams stay open, too.
    let holder = ["fork-holder", &world.text("never")];
    let lines = ["wait-file", &go, "lines", "4200", "100", "exit", "3"];
    world.container(&[&holder[..], &lines].concat());
    let mut monitor = world.create().after("ulimit -n 48").sync_pipe().start();
    monitor.ended();
    monitor.container();
    let clients: Vec<Peer> = (0..60)
        .map_while(|_| Peer::attach_within(&world.path("bundle/attach"), A_WHILE / 10))
        .collect();
    // The standard ones and those above the limit, which came from the caller, count as well.
    await_fact("a full table", || {
        let used = descriptors(monitor.pid());
        (used.iter().filter(|(number, _)| *number < 48).count() == 48).then_some(())
    });
    fs::write(go, "").unwrap();
    assert_recorded(&world, &monitor, "3");
    drop(clients);
}

/// One failure, or a few in a row, of each call that makes an exit file.
#[rstest]
fn a_refused_call_costs_no_exit_file(
    #[values(
        ("openat", "EMFILE"), ("openat", "ENFILE"), ("openat", "ENOSPC"), ("openat", "ENOMEM"),
        ("write", "ENOSPC"), ("write", "EDQUOT"), ("write", "EIO"), ("write", "EAGAIN"),
        ("renameat", "ENOSPC"), ("renameat", "EIO"), ("renameat", "ENOMEM")
    )]
    (call, errno): (&str, &str),
    #[values("1", "2..5")] when: &str,
) {
    let world = World::new(Candidate);
    let monitor = waiting(&world, &["exit", "3"], &[]);
    let rule = format!("{call}:error={errno}:when={when}");
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &[&rule]) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert_recorded(&world, &monitor, "3");
    refusing.await_refusal();
}

/// A machine so busy, or a disk so slow to refuse, that few tries fit into the time for them.
#[test]
fn slow_refusals_cost_no_exit_file() {
    let world = World::new(Candidate);
    let monitor = waiting(&world, &["exit", "3"], &[]);
    let rules = ["renameat:error=ENOSPC:delay_enter=250000:when=1..5"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert_recorded(&world, &monitor, "3");
    refusing.await_refusal();
}

/// A disk that has room again a moment later.
#[test]
fn an_exit_file_waits_for_a_full_disk_but_not_for_long() {
    for (pause, expected) in [(Some(A_WHILE / 10), Some("3")), (None, None)] {
        let world = World::new(Candidate);
        let go = world.text("go");
        world.container(&["wait-file", &go, "exit", "3"]);
        let disk = world.path("persist");
        let mut monitor = world.create().on_small_disk(&disk).sync_pipe().start();
        monitor.ended();
        monitor.container();
        // The disk is seen by the monitor alone.
        let root = format!("/proc/{}/root{}", monitor.pid(), disk.display());
        let more = format!("{root}/more");
        while fs::write(&more, vec![b'x'; 300_000]).is_ok() {}
        let look = fs::File::open(&root).unwrap();
        fs::write(go, "").unwrap();
        if let Some(pause) = pause {
            std::thread::sleep(pause);
            fs::remove_file(&more).unwrap();
        }
        assert_eq!(monitor.exit_file_within(RECORD_IN_TIME).as_deref(), Some("3"));
        let exit = format!("/proc/self/fd/{}/exit", look.as_raw_fd());
        assert_eq!(fs::read_to_string(exit).ok().as_deref(), expected);
    }
}

/// A user whose processes are as many as allowed, for a moment.
#[rstest]
fn a_refused_fork_costs_no_exit_command(#[values("EAGAIN", "ENOMEM")] errno: &str) {
    let world = World::new(Candidate);
    let ran = world.text("ran");
    let options = ["--exit-command", "/bin/touch", "--exit-command-arg", &ran];
    let monitor = waiting(&world, &["exit", "3"], &options);
    let rule = format!("clone:error={errno}:when=1..4");
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &[&rule]) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert_recorded(&world, &monitor, "3");
    await_file(&world.path("ran"));
    refusing.await_refusal();
}

/// No random numbers, neither by call nor from the device, at whatever step somebody may want some.
#[test]
fn a_kernel_without_random_numbers_costs_no_exit_file() {
    let world = World::new(Candidate);
    let (go, socket) = (world.text("go"), world.path("socket"));
    let _socket = UnixDatagram::bind(&socket).unwrap();
    world.container(&["wait-file", &go, "exit", "3"]);
    let mut monitor = world.create().without_random_devices(&socket).sync_pipe().start();
    monitor.ended();
    monitor.container();
    await_settled(monitor.pid());
    let device = format!("/proc/{}/root/dev/urandom", monitor.pid());
    fs::File::open(device).expect_err("it sees no device");
    let Some(_refusing) = Refusing::calls_of(monitor.pid(), &["getrandom:error=ENOSYS"]) else {
        return;
    };
    fs::write(go, "").unwrap();
    assert_recorded(&world, &monitor, "3");
    monitor.await_end();
}

/// Whatever the waits for the end say, the end is recorded, soon and with its code.
#[rstest]
#[case::poll_once(&["ppoll:error=ENOMEM:when=1..3"])]
#[case::poll_always(&["ppoll:error=ENOMEM"])]
#[case::interrupted_wait(&["wait4:error=EINTR"])]
#[case::no_child(&["wait4:error=ECHILD"])]
#[case::no_wait_by_descriptor(&["waitid:error=EINVAL"])]
fn a_refused_wait_costs_no_exit_file(#[case] rules: &[&str]) {
    let world = World::new(Candidate);
    let ran = world.text("ran");
    let options = ["--exit-command", "/bin/touch", "--exit-command-arg", &ran];
    let mut monitor = waiting(&world, &["exit", "3"], &options);
    let Some(refusing) = Refusing::calls_of(monitor.pid(), rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert_recorded(&world, &monitor, "3");
    await_file(&world.path("ran"));
    monitor.await_end();
    refusing.await_refusal();
}

/// A container that is no child, where the kernel does not know waitid(P_PIDFD).
#[test]
fn the_end_of_a_grandchild_is_noticed_without_waits_by_descriptor() {
    let world = World::new(Candidate);
    let script = World::table(&["wait-file", &world.text("go"), "exit", "3"], &[]);
    world.write_script(&format!("parent = \"intermediate\"\n{script}"));
    let mut monitor = world.create().sync_pipe().start();
    monitor.ended();
    monitor.container();
    let rules = ["waitid:error=EINVAL"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    let code = monitor.exit_file_within(RECORD_IN_TIME).unwrap();
    assert!(["3", "-1"].contains(&code.as_str()), "{code}");
    refusing.await_refusal();
}

/// A report to the caller while the wait for its pipe is refused.
#[test]
fn a_refused_wait_costs_no_report() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.script(&["sleep-forever"], &[&["wait-file", &go], &["container"], &["pid-file"]]);
    let mut monitor = world.create().sync_pipe().start();
    monitor.ended();
    await_settled(monitor.pid());
    let rules = ["ppoll:error=ENOMEM:when=1..3"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert!(monitor.container() > 1);
    refusing.await_refusal();
}

/// A signal for the container where the kernel does not send by process descriptor.
#[test]
fn a_signal_is_forwarded_without_process_descriptors() {
    let world = World::new(Candidate);
    let monitor = waiting(&world, &["exit", "3"], &[]);
    let rules = ["pidfd_send_signal:error=ENOSYS"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    sys::kill(monitor.pid(), libc::SIGTERM).unwrap();
    assert_recorded(&world, &monitor, "143");
    refusing.await_refusal();
}

/// A debugger that sits on the killed container: the monitor waits for it, asleep.
#[test]
fn a_zombie_that_a_tracer_holds_costs_no_cpu() {
    let world = World::new(Candidate);
    let monitor = waiting(&world, &["exit", "3"], &[]);
    let container: i32 = fs::read_to_string(world.path("pidfile")).unwrap().parse().unwrap();
    if let Err(error) = sys::trace(container) {
        skipped(&format!("processes cannot be traced here: {error}"));
        return;
    }
    sys::kill(container, libc::SIGKILL).unwrap();
    await_fact("a zombie", || (!crate::facts::alive(container)).then_some(()));
    let before = cpu_time(monitor.pid());
    assert_eq!(monitor.exit_file_within(A_WHILE), None);
    assert!(cpu_time(monitor.pid()) - before < A_WHILE / 10, "it spins");
    sys::let_go_of(container).unwrap();
    assert_recorded(&world, &monitor, "137");
}

/// One read that fails does not end a stream.
#[rstest]
fn a_refused_read_costs_no_output(#[values("", "-t")] terminal: &str) {
    let world = World::new(Candidate);
    let options: Vec<&str> = terminal.split_whitespace().collect();
    let more = world.text("more");
    let verbs = ["say", "one", "wait-file", &more, "say", "two", "exit", "3"];
    let monitor = waiting(&world, &verbs, &options);
    // The stream is all that is read until the container ends.
    let rules = ["read:error=EIO:when=1"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    monitor.await_log("one");
    fs::write(more, "").unwrap();
    assert_recorded(&world, &monitor, "3");
    assert!(world.output("stdout").contains("two"), "{:?}", world.log());
    refusing.await_refusal();
}

/// Memory to read into that is refused, once or for a while, does not end a stream.
#[rstest]
fn refused_memory_costs_no_output(#[values("1", "1..2", "1..9")] when: &str) {
    let world = World::new(Candidate);
    let (begin, end, more) = (world.text("begin"), world.text("end"), world.text("more"));
    world.script(
        &["lines", "100", "100", "say", "one", "wait-file", &more, "say", "two", "exit", "3"],
        &[&["wait-file", &begin], &["container"], &["pid-file"], &["wait-file", &end]],
    );
    let mut monitor = world.create().sync_pipe().start();
    monitor.ended();
    await_settled(monitor.pid());
    // The buffer is made for the first read that brings more than a line.
    let rule = format!("mmap:error=ENOMEM:when={when}");
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &[&rule]) else { return };
    fs::write(begin, "").unwrap();
    refusing.await_refusal();
    fs::write(end, "").unwrap();
    monitor.await_log("one");
    fs::write(more, "").unwrap();
    assert_recorded(&world, &monitor, "3");
    assert!(world.output("stdout").contains("two"), "{:?}", world.log());
}

/// Children of the monitor end as fast as it can reap them, without end.
#[test]
fn a_storm_of_orphans_does_not_delay_the_record() {
    let world = World::new(Candidate);
    let mut monitor = waiting(&world, &["exit", "3"], &[]);
    let rules = ["wait4:retval=4194304"];
    let Some(refusing) = Refusing::calls_of(monitor.pid(), &rules) else { return };
    fs::write(world.path("go"), "").unwrap();
    assert_recorded(&world, &monitor, "3");
    refusing.await_refusal();
    drop(refusing);
    monitor.await_end();
}

/// The same with real processes, in a pid namespace of their own: each of four forkers, whom the
/// container leaves behind, makes orphans as fast as it can, up to a number that no machine minds.
/// Every reaping takes the monitor two milliseconds, so that on any machine there are always more to
/// reap; who reaps while there is something to reap is more than ten seconds late.
/// `CONMON_STORM_FORKERS` asks for more forkers.
#[test]
fn real_orphans_do_not_delay_the_record() {
    const ORPHANS: usize = 6000;
    if !has_strace() {
        return;
    }
    let world = World::new(Candidate);
    let forkers = std::env::var("CONMON_STORM_FORKERS").ok().and_then(|n| n.parse().ok());
    let forkers: usize = forkers.unwrap_or(4);
    let each = ORPHANS / forkers;
    let names = ["begin", "go", "last", "bundle"];
    let [begin, go, last, here] = names.map(|name| world.text(name));
    let storm = format!(
        "{{ i=0; while [ $i -lt {each} ] && [ -d {here} ]; do i=$((i+1)); (: &) done; }} \
         > /dev/null 2>&1 &"
    );
    let wait_for = |path: &str| format!("while ! [ -e {path} ]; do sleep 0.05; done");
    let container = format!(
        "{}; n=0; while [ $n -lt {forkers} ]; do n=$((n+1)); {storm} done; \
         {}; : > {last}; exit 3",
        wait_for(&begin),
        wait_for(&go),
    );
    let container = serde_json::json!(["/bin/sh", "-c", container]);
    world.write_script(&format!("container = {container}\n"));
    let apart = "[ -n \"$APART\" ] || APART=1 exec unshare -m -p -f --mount-proc --kill-child \
                 sh -c \"$0\" \"$0\" \"$@\"; unset APART; \
                 exec strace -qq -o /dev/null -e trace=wait4 -e inject=wait4:delay_exit=2000 \"$@\"";
    let mut monitor = world.create().with(&["--sync"]).after(apart).sync_pipe().start();
    if monitor.sync().report().is_none() {
        let why = fs::read_to_string(world.path("stderr")).unwrap();
        assert!(why.contains("not permitted") || why.contains("not found"), "{why}");
        skipped("there are no pid namespaces here");
        return;
    }
    fs::write(begin, "").unwrap();
    std::thread::sleep(A_WHILE);
    fs::write(go, "").unwrap();
    assert_eq!(monitor.exit_file(), "3");
    let exit_file = format!("exits/{}", crate::world::CID);
    let late = world.written(&exit_file).duration_since(world.written("last"));
    assert!(late.clone().unwrap_or_default() < RECORD_IN_TIME, "{late:?} late");
    eprintln!("{forkers} forkers: the record came after {:?}", late.unwrap_or_default());
    assert_eq!(monitor.code(), 3);
}

/// No more memory than there is, and a client that sends a packet of 180 kB.
#[test]
fn a_packet_that_does_not_fit_into_memory_costs_its_client() {
    let world = World::new(Candidate);
    let monitor = waiting(&world, &["say", "last words", "exit", "3"], &["-i"]);
    let other = Peer::attach(&world.path("bundle/attach"));
    let client = Peer::attach(&world.path("bundle/attach"));
    await_settled(monitor.pid());
    sys::limit_address_space(monitor.pid()).unwrap();
    client.send(&[b'x'; 180_000]);
    assert_eq!(client.receive(), Received::End);
    fs::write(world.path("go"), "").unwrap();
    assert_eq!(other.receive(), Received::Packet(b"\x02last words\n".into()));
    assert_recorded(&world, &monitor, "3");
    assert_eq!(world.log(), ["stdout F last words"]);
}

/// What was made for a monitor that then cannot start is gone.
#[rstest]
#[case::listening_for_clients(&[], "listen:error=ENOBUFS:when=1")]
#[case::listening_for_the_terminal(&["-t"], "listen:error=ENOBUFS:when=1")]
#[case::listening_for_clients_with_a_terminal(&["-t"], "listen:error=ENOBUFS:when=2")]
#[case::opening_a_fifo(&[], "openat:error=EMFILE:path=bundle/ctl")]
#[case::opening_the_other_fifo(&[], "openat:error=EMFILE:path=bundle/winsz")]
fn a_start_that_is_refused_leaves_nothing(#[case] options: &[&str], #[case] rule: &str) {
    let world = World::new(Candidate);
    world.container(&["exit", "0"]);
    let (rule, path) = rule.split_once(":path=").unwrap_or((rule, ""));
    let mut only = String::new();
    if !path.is_empty() {
        only = format!("-P {}", world.text(path));
    }
    let call = rule.split(':').next().unwrap();
    let strace = format!(
        "exec strace -D -qq -f -o {} {only} -e trace={call} -e inject={rule} \"$@\"",
        world.text("trace"),
    );
    let mut monitor = world.create().with(options).after(&strace).sync_pipe().start();
    let report = monitor.sync().report();
    monitor.ended();
    let trace = fs::read_to_string(world.path("trace")).unwrap_or_default();
    if trace.is_empty() {
        skipped("processes cannot be traced here");
        return;
    }
    assert!(trace.contains("(INJECTED)"), "{trace}");
    assert!(report.is_some_and(|report| report.contains("\"data\": -1")));
    for directory in ["bundle", "tmp"] {
        let left: Vec<_> = fs::read_dir(world.path(directory)).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Nobody reads the FIFO yet that is the log: the start does not wait, and nothing is lost.
#[test]
fn a_fifo_without_reader_is_a_log() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["lines", "3000", "100", "wait-file", &go, "exit", "3"]);
    let path = world.path("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = format!("k8s-file:{}", path.display());
    let mut monitor = world.create().without("-l").with(&["-l", &log]).sync_pipe().start();
    monitor.ended();
    assert!(monitor.container() > 1);
    await_settled(monitor.pid());
    let reader = fs::File::open(&path).unwrap();
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        text
    });
    fs::write(go, "").unwrap();
    assert_recorded(&world, &monitor, "3");
    monitor.await_end();
    // A line that a read has cut in two is two records, of which the last is full.
    let text = text.join().unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(" stdout F ")).count(), 3000);
}
