//! Those who read slowly when the container has ended: they delay nothing and lose nothing.

use crate::facts::{
    A_WHILE, alive, await_fact, await_file, await_settled, descriptors, stat, status, within,
};
use crate::peer::{Peer, Received};
use crate::refusing::has_strace;
use crate::running::Running;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::subject::helper;
use crate::sys;
use crate::world::{Monitor, World};
use nix::fcntl::{FcntlArg, fcntl};
use rstest::rstest;
use std::fs::{self, File};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What the callers' 5 s leave for the record on a busy machine.
pub const IN_TIME: Duration = Duration::from_millis(4800);

/// How long the monitor may stay for readers after the record, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Run,
    Exec,
    LegacyExec,
}

impl Kind {
    pub fn monitor(self, world: &World) -> Monitor<'_> {
        match self {
            Self::Run => world.create(),
            Self::Exec => world.exec(),
            Self::LegacyExec => {
                let spec = world.text("process.json");
                let monitor = world.create_legacy().without("-u");
                monitor.with(&["--exec", "--exec-process-spec", &spec])
            }
        }
    }
}

/// Bytes of standard output and of standard error that came before the stream's end.
pub fn received(client: &Peer) -> [usize; 2] {
    let mut bytes = [0; 2];
    while let Received::Packet(packet) = client.receive() {
        assert!(packet.len() <= 8193);
        bytes[usize::from(packet[0] - 2)] += packet.len() - 1;
    }
    bytes
}

/// A container that has printed 400,000 bytes, more than the client's socket holds, and has
/// ended with 3; its client has read nothing.
pub fn ended_with_a_paused_client<'w>(
    world: &'w World,
    monitor: Monitor<'w>,
) -> (Running<'w>, Peer) {
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "4000", "100", "exit", "3"]);
    let monitor = monitor.with(&["--sync"]).sync_pipe().start();
    await_file(&world.path("pidfile"));
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    (monitor, client)
}

/// A1. The reference waits for the client before it records the exit.
#[rstest]
#[case::stdout(Kind::Run, &["lines", "4000", "100"], "", [400_000, 0])]
#[case::stderr(Kind::Run, &["print-bytes-err", "400000", "x"], "", [0, 400_000])]
#[case::both(
    Kind::Run,
    &["lines", "2000", "100", "print-bytes-err", "200000", "x"],
    "",
    [200_000, 200_000]
)]
#[case::terminal(Kind::Run, &["lines", "3000", "100"], "-t", [303_000, 0])]
#[case::exec(Kind::Exec, &["lines", "4000", "100"], "", [400_000, 0])]
#[case::exec_terminal(Kind::Exec, &["lines", "3000", "100"], "-t", [303_000, 0])]
#[case::legacy_exec(Kind::LegacyExec, &["lines", "4000", "100"], "", [400_000, 0])]
fn a_paused_client_gets_everything_and_delays_nothing(
    #[case] kind: Kind,
    #[case] verbs: &[&str],
    #[case] terminal: &str,
    #[case] expected: [usize; 2],
) {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&[&["wait-file", &go], verbs, &["exit", "3"]].concat());
    let options: Vec<&str> = terminal.split_whitespace().collect();
    let monitor = kind.monitor(&world).with(&options).with(&["--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    let container = await_file(&world.path("pidfile")).parse().unwrap();
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    await_fact("the container's end", || (!alive(container)).then_some(()));
    assert_eq!(monitor.exit_file_within(IN_TIME).as_deref(), Some("3"));
    let recorded = Instant::now();
    if matches!(kind, Kind::Exec) {
        monitor.container();
        assert_eq!(monitor.sync().text(), "{\"data\": 3}\n");
        assert!(recorded.elapsed() < A_WHILE, "the report does not wait for the client");
    }
    assert_eq!(monitor.ended_within(SOON).and_then(|status| status.code()), Some(3));
    assert_eq!(received(&client), expected);
    await_fact("nobody left", || world.processes().is_empty().then_some(()));
}

/// The same seen in the original, which is why callers wait.
#[rstest]
#[case::reference(Reference, false)]
#[case::candidate(Candidate, true)]
fn the_end_is_recorded_beside_a_paused_client(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let (monitor, client) = ended_with_a_paused_client(&world, world.create());
    let limit = if expected { IN_TIME } else { A_WHILE };
    assert_eq!(monitor.exit_file_within(limit).is_some(), expected);
    assert_eq!(received(&client), [400_000, 0]);
    assert_eq!(monitor.exit_file(), "3");
}

/// However slow it is: nobody is given up while it reads now and then, nor when it does not. A
/// packet of 8 KiB every 8 s is one kilobyte a second. What does not fit into the client's socket
/// at first is half of all: the others' pace is such that it takes twice the monitor's grace.
#[rstest]
#[case::steadily(Kind::Run, Duration::from_millis(180))]
#[case::one_kilobyte_a_second(Kind::Run, Duration::from_secs(8))]
#[case::exec(Kind::Exec, Duration::from_millis(180))]
#[case::legacy_exec(Kind::LegacyExec, Duration::from_millis(180))]
fn a_slow_client_gets_everything_long_after_the_end(#[case] kind: Kind, #[case] pause: Duration) {
    let world = World::new(Candidate);
    let (mut monitor, client) = ended_with_a_paused_client(&world, kind.monitor(&world));
    assert_eq!(monitor.exit_file(), "3");
    let mut bytes = 0;
    for n in 0.. {
        // The first packets at that pace, the rest at once.
        if pause * n < Duration::from_secs(9) {
            std::thread::sleep(pause);
        }
        let Received::Packet(packet) = client.receive() else { break };
        bytes += packet.len() - 1;
    }
    assert_eq!(bytes, 400_000);
    assert_eq!(monitor.code(), 3);
}

/// The container may enlarge its pipe, and whatever was in it at the end is for the clients.
#[rstest]
fn everything_in_an_enlarged_pipe_reaches_a_paused_client() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "14000", "100", "exit", "3"]);
    let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
    let container = monitor.container();
    let output = File::options().write(true).open(format!("/proc/{container}/fd/1")).unwrap();
    fcntl(&output, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    drop(output);
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(world.output("stdout").len(), 1_400_000);
    assert_eq!(monitor.code(), 3);
    assert_eq!(received(&client), [1_400_000, 0]);
}

#[rstest]
fn a_client_that_reads_is_not_kept_for_one_that_does_not() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "4000", "100", "exit", "3"]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    let paused = Peer::attach(&world.path("bundle/attach"));
    let reading = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    assert_eq!(received(&reading), [400_000, 0]);
    assert_eq!(received(&paused), [400_000, 0]);
}

/// The exit command waits for nobody, and nobody waits for it.
#[rstest]
fn clients_are_served_while_the_exit_command_runs(#[values("0", "2")] delay: &str) {
    let world = World::new(Candidate);
    let (recorder, records) = (helper("exit-recorder"), world.text("records"));
    let end = world.text("end");
    let mut monitor = world.create().with(&["--exit-command", &recorder, "--exit-delay", delay]);
    for argument in [&records, "--sleep-until-file", &end] {
        monitor = monitor.with(&["--exit-command-arg", argument]);
    }
    let (mut monitor, client) = ended_with_a_paused_client(&world, monitor);
    if delay == "0" {
        world.record("records");
    } else {
        monitor.exit_file();
    }
    let late = Peer::try_attach(&world.path("bundle/attach"));
    assert!(late.is_none(), "nobody is accepted any more");
    assert_eq!(received(&client), [400_000, 0]);
    assert_eq!(world.path("records").exists(), delay == "0");
    world.record("records");
    assert_eq!(monitor.ended_within(A_WHILE), None);
    let before = Instant::now();
    fs::write(end, "").unwrap();
    assert_eq!(monitor.code(), 3);
    assert!(before.elapsed() < A_WHILE, "nobody was left to wait for");
    assert_eq!(world.processes(), Vec::<i32>::new());
}

/// The process that goes on serving, when the monitor has ended.
#[track_caller]
pub fn survivor(world: &World, monitor: &mut Running) -> i32 {
    let ended = monitor.pid();
    assert_eq!(monitor.code(), 3);
    match world.processes()[..] {
        [pid] if pid != ended => pid,
        ref others => panic!("not one process but {others:?}"),
    }
}

#[rstest]
fn what_outlives_the_monitor_holds_nothing_but_its_clients() {
    let world = World::new(Candidate);
    let (_reader, held) = nix::unistd::pipe().unwrap();
    let mut monitor = world.create().env("CONMON_X", "y").oom_score_adj(500);
    monitor.inherit(held);
    let (mut monitor, client) = ended_with_a_paused_client(&world, monitor);
    let pid = survivor(&world, &mut monitor);
    await_settled(pid);
    let targets: Vec<String> = descriptors(pid).into_iter().map(|(_, target)| target).collect();
    let count = |of: &str| targets.iter().filter(|target| target.starts_with(of)).count();
    assert_eq!((count("/dev/null"), count("socket:")), (3, 1), "{targets:?}");
    assert_eq!(count("anon_inode:[signalfd]"), 1, "{targets:?}");
    assert_eq!(targets.len(), 5, "{targets:?}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    assert_eq!(status(pid, "Name"), "conmon-readers");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "500\n");
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let dirty = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    let kib: usize = dirty.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 1024, "{kib} KiB");
    assert_eq!(received(&client), [400_000, 0]);
    await_fact("its end", || (!alive(pid)).then_some(()));
}

#[rstest]
fn what_outlives_the_monitor_ends_when_told_or_left() {
    for told in [true, false] {
        let world = World::new(Candidate);
        let (mut monitor, client) = ended_with_a_paused_client(&world, world.create());
        let pid = survivor(&world, &mut monitor);
        for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1, libc::SIGPIPE] {
            sys::kill(pid, number).unwrap();
        }
        assert!(within(A_WHILE / 5, || (!alive(pid)).then_some(())).is_none());
        if told {
            sys::kill(pid, libc::SIGTERM).unwrap();
            await_fact("its end", || (!alive(pid)).then_some(()));
            let [bytes, _] = received(&client);
            assert!((1..400_000).contains(&bytes), "{bytes}");
        } else {
            drop(client);
            await_fact("its end", || (!alive(pid)).then_some(()));
        }
    }
}

/// Where no process can be made, the monitor stays.
#[rstest]
fn a_refused_fork_costs_the_client_nothing() {
    if !has_strace() {
        return;
    }
    let world = World::new(Candidate);
    // The first clone makes the runtime.
    let refuse = "inject=clone,clone3,fork,vfork:error=EAGAIN:when=2+";
    let strace =
        format!("exec strace -qq -o /dev/null -e trace=clone,clone3,fork,vfork -e {refuse} \"$@\"");
    let monitor = world.create().with(&["--no-sync-log"]).after(&strace);
    let (mut monitor, client) = ended_with_a_paused_client(&world, monitor);
    assert_eq!(monitor.exit_file(), "3");
    assert_eq!(monitor.ended_within(A_WHILE * 3), None);
    assert_eq!(received(&client), [400_000, 0]);
    assert_eq!(monitor.code(), 3);
}

/// A client that is busy sending is not reading; both sides would wait for ever.
#[rstest]
fn a_client_that_sends_first_and_reads_then_gets_everything() {
    let world = World::new(Candidate);
    let (monitor, client) = ended_with_a_paused_client(&world, world.create());
    assert_eq!(monitor.exit_file(), "3");
    for _ in 0..500 {
        client.send(&[b'x'; 10_000]);
    }
    assert_eq!(received(&client), [400_000, 0]);
}

/// B18: the reader of a FIFO that is the log gets everything, but after the record.
#[rstest]
#[case::slow(true)]
#[case::stopped(false)]
fn a_log_that_is_slow_does_not_delay_the_record(#[case] reads: bool) {
    let world = World::new(Candidate);
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut reader = crate::peer::open_fifo(&fifo);
    let log = format!("k8s-file:{}", fifo.display());
    world.container(&["numbered", "1000", "100", "exit", "3"]);
    let monitor = world.create().without("-l").with(&["-l", &log, "--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    let container = monitor.container();
    // A page at each pace, whatever the looks below cost on a busy machine.
    let (paces, told) = channel();
    let reading = std::thread::spawn(move || {
        let (mut taken, mut pace) = (Vec::new(), Duration::from_millis(2));
        loop {
            match told.recv_timeout(pace) {
                Ok(other) => pace = other,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if reads => {
                    crate::peer::take(&mut reader, &mut taken, 4096);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        while crate::peer::take(&mut reader, &mut taken, 65536) > 0 {}
        taken
    });
    await_fact("the container's end", || {
        // All that the FIFO does not hold waits in the container's pipe, or is on its way there.
        stat(container).is_none_or(|fields| fields[0] == "Z").then_some(())
    });
    let ended = Instant::now();
    paces.send(Duration::from_millis(500)).unwrap();
    let recorded = monitor.exit_file_within(IN_TIME);
    assert_eq!(recorded.as_deref(), Some("3"), "{:?}", ended.elapsed());
    assert_eq!(monitor.ended_within(SOON).and_then(|status| status.code()), Some(3));
    paces.send(Duration::from_millis(20)).unwrap();
    await_fact("everything", || world.processes().is_empty().then_some(()));
    drop(paces);
    let taken = reading.join().unwrap();
    let lines = taken.windows(3).filter(|bytes| bytes == b" F ").count();
    assert_eq!(lines == 1000, reads, "{lines} lines");
}

/// B18: what is in a FIFO waits a little for a first reader, and delays nothing meanwhile. It is
/// more or less than the FIFO holds; in the first case the rest waits in the monitor.
#[rstest]
#[case::a_little(50)]
#[case::more_than_a_fifo_holds(1000)]
fn a_log_without_a_reader_is_kept_for_one_and_then_given_up(
    #[case] lines: usize,
    #[values(true, false)] comes: bool,
) {
    let world = World::new(Candidate);
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let log = format!("k8s-file:{}", fifo.display());
    let go = world.text("go");
    world.container(&["wait-file", &go, "numbered", &lines.to_string(), "100", "exit", "3"]);
    let monitor = world.create().without("-l").with(&["-l", &log, "--sync"]);
    let mut monitor = monitor.sync_pipe().start();
    monitor.container();
    fs::write(go, "").unwrap();
    let mut taken = Vec::new();
    if comes {
        // The end itself cannot be seen yet where the rest waits for a reader.
        await_settled(monitor.pid());
        let mut reader = crate::peer::open_fifo(&fifo);
        await_fact("everything", || {
            crate::peer::take(&mut reader, &mut taken, 65536);
            world.processes().is_empty().then_some(())
        });
        while crate::peer::take(&mut reader, &mut taken, 65536) > 0 {}
    }
    assert_eq!(monitor.exit_file_within(IN_TIME).as_deref(), Some("3"));
    assert_eq!(monitor.ended_within(SOON).and_then(|status| status.code()), Some(3));
    await_fact("nobody serves readers any more", || world.processes().is_empty().then_some(()));
    let ends = taken.windows(3).filter(|bytes| bytes == b" F ").count();
    assert_eq!(ends, if comes { lines } else { 0 });
}

/// Keeps the processors busy until it is dropped.
struct Load(Vec<std::process::Child>);

impl Load {
    fn on_every_processor() -> Self {
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let busy = |_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(busy).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
    }
}

/// Reads to the end; what is left for the container's end at a pace of its own: at once, after
/// a pause, or steadily slow.
fn received_at_a_pace(client: &Peer, pace: usize) -> usize {
    let mut bytes = 0;
    let mut paused = false;
    while let Received::Packet(packet) = client.receive() {
        bytes += packet.len() - 1;
        if bytes > 2_700_000 {
            match pace {
                1 if !paused => std::thread::sleep(Duration::from_secs(5)),
                2 => std::thread::sleep(Duration::from_millis(70)),
                _ => {}
            }
            paused = true;
        }
    }
    bytes
}

/// One life that prints three megabytes; returns what its client missed of them.
fn life(number: usize) -> Option<String> {
    let pace = number % 3;
    let terminal = number % 2 == 1;
    let kind = [Kind::Run, Kind::Exec][number / 6 % 2];
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&["wait-file", &go, "lines", "30000", "100", "exit", "3"]);
    let monitor = kind.monitor(&world).with(if terminal { &["-t"] } else { &[] });
    let monitor = monitor.with(&["--sync"]).sync_pipe().start();
    await_file(&world.path("pidfile"));
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    let expected = if terminal { 3_030_000 } else { 3_000_000 };
    let bytes = received_at_a_pace(&client, pace);
    assert_eq!(monitor.exit_file(), "3");
    let life = format!("life {number}: {bytes} of {expected}, {kind:?}, {terminal}, pace {pace}");
    (bytes != expected).then_some(life)
}

/// Not one byte is lost on a busy machine. `CONMON_READERS_LIVES` says how often to look.
#[test]
fn on_a_busy_machine_no_reader_loses_a_byte() {
    let lives = std::env::var("CONMON_READERS_LIVES").ok().and_then(|n| n.parse().ok());
    let lives = lives.unwrap_or(6);
    let _load = Load::on_every_processor();
    let next = AtomicUsize::new(0);
    let numbers = || {
        let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        mine.take_while(|number| *number < lives).filter_map(life).collect::<Vec<_>>()
    };
    let lost: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(numbers)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(lost.is_empty(), "{} of {lives}: {lost:#?}", lost.len());
}
