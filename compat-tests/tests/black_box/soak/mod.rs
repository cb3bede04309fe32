//! Peers of all kinds that do what they like for long: attach clients, writers of the control FIFOs,
//! notifying containers and service managers, console peers, and calls that the kernel refuses.
//!
//! Thousands of operations in a test run; `CONMON_SOAK_OPERATIONS` says how many, `CONMON_SOAK_SEED` which.

mod clients;
mod dice;
mod fifos;
mod notifier;

use crate::facts::{A_WHILE, await_fact, await_settled, cpu_time, descriptors};
use crate::facts::{private_dirty, status};
use crate::refusing::Refusing;
use crate::running::Running;
use crate::subject::Subject::Candidate;
use crate::sys;
use crate::world::World;
use clients::Clients;
use dice::Dice;
use fifos::{Fifos, Terminal};
use notifier::Notifier;
use std::fs;
use std::time::Instant;

/// Small enough for half a minute on two busy cores.
const OPERATIONS: u64 = 6000;
const SEED: u64 = 8;
/// How often everything is brought to rest and measured.
const RESTS: u64 = 10;
/// One of so many operations is a whole creation with a console peer.
const CONSOLES: usize = 1500;
const MOST_CLIENTS: usize = 10;
/// How many operations calls are refused for, once in each part between two rests.
const REFUSED_OPERATIONS: u64 = 150;
/// Longer than a busy machine keeps this test from reading for.
const STALL_SECONDS: &str = "8";
/// What an allocator may keep, in KiB.
const SLACK: u64 = 96;

/// None of these costs a byte that a client sends or receives; a writev is the log's.
const REFUSALS: &[&str] = &[
    "ppoll:error=ENOMEM:when=3+7",
    "ppoll:error=EINTR:when=2+3",
    "accept4:error=EMFILE:when=2+5",
    "accept4:error=ECONNABORTED:when=1+2",
    "sendmsg:error=ENOBUFS:when=2+3",
    "sendto:error=ENOBUFS:when=2+3",
    "sendmmsg:error=ENOMEM:when=1+2",
    "read:error=EINTR:when=2+3",
    "read:error=EIO:when=5+9",
    "write:error=EAGAIN:when=2+3",
    "writev:error=ENOSPC:when=2+3",
    "recvfrom:error=EINTR:when=3+5",
];

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// What is to be the same at each rest.
#[derive(Debug)]
struct Rest {
    descriptors: usize,
    memory: u64,
}

impl Rest {
    /// Asleep, with `clients` connected.
    fn of(pid: i32, clients: usize) -> Self {
        await_settled(pid);
        Self { descriptors: descriptors(pid).len() - clients, memory: private_dirty(pid) }
    }

    /// Waits until it is as at `first`: memory goes back a second after its use.
    #[track_caller]
    fn assert_as_at(first: &Self, pid: i32, clients: usize) {
        let mut last = None;
        let back = crate::facts::within(A_WHILE * 4, || {
            let now = Self::of(pid, clients);
            let same = now.descriptors == first.descriptors && now.memory <= first.memory + SLACK;
            last = Some(now);
            same.then_some(())
        });
        assert!(back.is_some(), "{last:?} at rest, {first:?} at the beginning");
    }
}

/// A creation whose runtime hands over the terminal in some way or does not; returns how.
fn console_peer(dice: &mut Dice) -> &'static str {
    let how = *dice.one_of(&["", "null-fd", "two-fds", "no-fd", "close", "nothing"]);
    let world = World::new(Candidate);
    let console = if how.is_empty() { &["console"][..] } else { &["console", how] };
    world.script(&["exit", "4"], &[console, &["container"], &["pid-file"]]);
    let mut monitor = world.create().with(&["-t", "--sync"]).sync_pipe().start();
    let report = monitor.sync().report().unwrap();
    let good = ["", "null-fd", "two-fds"].contains(&how);
    assert_eq!(!report.contains("-1"), good, "{how}: {report}");
    assert_eq!(monitor.code(), if good { 4 } else { 1 }, "{how}");
    let left: Vec<_> = fs::read_dir(world.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{how}: {left:?}");
    await_fact("nobody left", || world.processes().is_empty().then_some(()));
    how
}

fn client_operation(clients: &mut Clients, dice: &mut Dice) {
    let chosen = dice.below(1000);
    match dice.below(24) {
        0 | 1 if clients.count() <= MOST_CLIENTS => clients.connect(),
        2 => clients.probe(),
        3 => clients.leave(chosen),
        4 => {
            clients.leave(chosen);
            clients.connect();
        }
        5 => clients.pause(chosen),
        6 => clients.finish_sending(chosen, dice.below(2) == 0),
        7 => clients.send(chosen, dice.below(100_000)),
        8 => {
            let length = dice.below(3000);
            (0..20).for_each(|_| clients.send(chosen, length));
        }
        9 | 10 => clients.send(chosen, 8000 + dice.below(400)),
        _ => clients.send(chosen, dice.below(300)),
    }
    if dice.below(4) == 0 {
        clients.pump();
    }
}

fn started<'w>(world: &'w World, verbs: &[&str], options: &[&str]) -> (Running<'w>, i32) {
    world.container(verbs);
    fs::create_dir(world.path("bundle/notify")).unwrap();
    let monitor = world
        .create()
        .with(&["--log-size-max", "2000000"])
        .with(options)
        .env("CONMON_ATTACH_STALL_TIMEOUT", STALL_SECONDS);
    let mut monitor = monitor.sync_pipe().start();
    monitor.ended();
    let container = monitor.container();
    (monitor, container)
}

/// Every record is whole, whatever came between.
#[track_caller]
fn assert_whole_records(world: &World) {
    let log = fs::read(world.path("log")).unwrap();
    assert!(log.is_empty() || log.ends_with(b"\n"));
    for record in log.split_inclusive(|byte| *byte == b'\n') {
        let head = record.get(35..45).unwrap_or_default();
        assert!([b" stdout F ", b" stdout P "].contains(&head.try_into().unwrap_or(b"          ")));
    }
}

#[test]
fn peers_that_do_what_they_like_cost_nothing() {
    let operations = from_environment("CONMON_SOAK_OPERATIONS", OPERATIONS);
    let mut dice = Dice::new(from_environment("CONMON_SOAK_SEED", SEED));
    let start = Instant::now();

    let world = World::new(Candidate);
    let host_path = world.path("host");
    let host = Notifier::bind(&host_path);
    let options = ["-i", "--leave-stdin-open", "--sdnotify-socket", host_path.to_str().unwrap()];
    let (mut monitor, container) = started(&world, &["echo-until-eof"], &options);
    let pid = monitor.pid();
    let mut clients = Clients::new(&world.path("bundle/attach"));
    let mut fifos = Fifos::new(&world.path("bundle"));
    let notify_socket = world.path("bundle/notify/notify.sock");
    let mut notifier = Notifier::new(&notify_socket, &host_path, host);

    let other = World::new(Candidate);
    let (mut other_monitor, other_container) =
        started(&other, &["on-winch", "sleep-forever"], &["-t"]);
    let other_pid = other_monitor.pid();
    let other_bundle = other.path("bundle");
    let mut terminal = Terminal::new(&other_bundle);

    let part = (operations / RESTS).max(1);
    let (mut first, mut consoles, mut refused) = (None, 0, 0);
    let mut refusing = None;
    for number in 1..=operations {
        match dice.below(CONSOLES) {
            0 => {
                console_peer(&mut dice);
                consoles += 1;
            }
            1..150 => fifos.act(&mut dice),
            150..400 => terminal.act(&mut dice, &other_bundle),
            400..650 => notifier.act(&mut dice),
            _ => client_operation(&mut clients, &mut dice),
        }
        if number % part == part / 2 {
            notifier.may_lose();
            refusing = Refusing::calls_of(pid, &[REFUSALS[dice.below(REFUSALS.len())]]);
        }
        if number % part == part / 2 + REFUSED_OPERATIONS.min(part / 3) {
            refused += usize::from(refusing.take().is_some());
        }
        if number % part == 0 {
            if number / part % 5 == 1 {
                clients.be_cut_off();
            }
            clients.settle();
            notifier.settle();
            terminal.settle();
            if dice.below(2) == 0 {
                clients.leave_all();
            }
            let counts = [(pid, clients.count()), (other_pid, 1)];
            let firsts =
                first.get_or_insert_with(|| counts.map(|(pid, count)| Rest::of(pid, count)));
            for ((pid, count), first) in counts.into_iter().zip(firsts) {
                Rest::assert_as_at(first, pid, count);
            }
        }
    }

    // Idle when idle, once the memory of the last output has gone back.
    await_fact("monitors that nothing wakes", || {
        let state = |pid| (cpu_time(pid), status(pid, "voluntary_ctxt_switches"));
        let before = [pid, other_pid].map(state);
        std::thread::sleep(A_WHILE);
        ([pid, other_pid].map(state) == before).then_some(())
    });
    let rests = [(pid, clients.count()), (other_pid, 1)].map(|(pid, count)| Rest::of(pid, count));

    sys::kill(container, libc::SIGKILL).unwrap();
    sys::kill(other_container, libc::SIGKILL).unwrap();
    clients.end();
    assert_eq!([monitor.exit_file(), other_monitor.exit_file()], ["137", "137"]);
    monitor.await_end();
    other_monitor.await_end();
    assert_whole_records(&world);
    eprintln!(
        "{operations} operations in {:?}: {} bytes through the container, {} notifications heard, \
         {consoles} consoles, {refused} times refused calls; at the first and the last rest {first:?} \
         {rests:?}",
        start.elapsed(),
        clients.bytes(),
        notifier.heard(),
    );
}
