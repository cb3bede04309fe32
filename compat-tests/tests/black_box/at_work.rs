//! What a container costs that prints a line now and then, as most of them do.

use crate::facts::{DEADLINE, await_fact, await_file, await_settled, status};
use crate::peer::{Peer, Received};
use crate::refusing::has_strace;
use crate::subject::Subject::Candidate;
use crate::sys;
use crate::world::World;
use rstest::rstest;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Wait, read, write, and one more for a client. The pause of more than a second shows a timer
/// that wakes the monitor for nothing.
#[rstest]
#[case::nobody_attached(0, 20, "20000", 3)]
#[case::one_client(1, 20, "20000", 4)]
#[case::long_pauses(0, 4, "1300000", 3)]
fn a_line_alone_costs_a_system_call_for_each_thing_done(
    #[case] clients: usize,
    #[case] lines: usize,
    #[case] pause: &str,
    #[case] expected: usize,
) {
    if !has_strace() {
        return;
    }
    let world = World::new(Candidate);
    let (go, stop) = (world.text("go"), world.text("stop"));
    let count = lines.to_string();
    // The first line ever has the time zone looked up.
    let first = ["say", "first", "wait-file", &go];
    world.container(&[&first[..], &["trickle", &count, "100", pause, "wait-file", &stop]].concat());
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    monitor.await_log("first");
    let pid = monitor.pid();
    let readers: Vec<_> = (0..clients)
        .map(|_| Peer::attach(&world.path("bundle/attach")))
        .map(|client| std::thread::spawn(move || while client.receive() != Received::End {}))
        .collect();
    await_settled(pid);
    let trace = world.path("trace");
    let mut strace = Command::new("strace")
        .args(["-qq", "-s", "4", "-p", &pid.to_string(), "-o"])
        .arg(&trace)
        .spawn()
        .unwrap();
    await_fact("strace", || (status(pid, "TracerPid") != "0").then_some(()));
    fs::write(go, "").unwrap();
    await_fact("the lines", || (world.log().len() == lines + 1).then_some(()));
    await_settled(pid);
    fs::write(stop, "").unwrap();
    strace.wait().unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());

    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|line| !line.starts_with("---")).collect();
    let is_line = |call: &&str| call.starts_with("read(") && call.contains("\"xxxx\"");
    let places: Vec<usize> = (0..calls.len()).filter(|at| is_line(&calls[*at])).collect();
    // Of most of them: a busy machine may have two lines come as one.
    let mut costs: Vec<usize> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    costs.sort_unstable();
    assert_eq!(costs.get(costs.len() / 2), Some(&expected), "{trace}");
}

/// The buffers of a flood last as long as it does, not as long as anything comes.
#[test]
fn memory_for_a_flood_goes_back_although_lines_still_come() {
    let world = World::new(Candidate);
    let (go, done) = (world.text("go"), world.text("done"));
    world.container(&[
        "say",
        "first",
        "wait-file",
        &go,
        "lines",
        "100000",
        "100",
        "touch",
        &done,
        "trickle",
        "1000",
        "100",
        "20000",
    ]);
    let monitor = world.create().sync_pipe().start();
    monitor.container();
    monitor.await_log("first");
    let pid = monitor.pid();
    let private = || {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    await_settled(pid);
    std::thread::sleep(Duration::from_millis(1200));
    let quiet = private();
    fs::write(go, "").unwrap();
    await_file(&world.path("done"));
    // Two pages: one of the stack, one for what is touched once.
    await_fact("memory given back", || (private() <= quiet + 8).then_some(()));
    assert_eq!(monitor.exit_file_within(Duration::ZERO), None, "lines still come");
}

/// The wait looks at the socket after the output, so no later look is needed for a line alone.
#[test]
fn whoever_connects_before_a_line_is_written_gets_it() {
    let world = World::new(Candidate);
    world.container(&[
        "trap",
        "USR1",
        "wanted",
        "trap",
        "USR2",
        "noise",
        "say",
        "ready",
        "sleep-forever",
    ]);
    let monitor = world.create().sync_pipe().start();
    let container = monitor.container();
    monitor.await_log("ready");
    let socket = world.path("bundle/attach");
    let end = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end {
                sys::kill(container, libc::SIGUSR2).unwrap();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        while Instant::now() < end {
            let client = Peer::attach(&socket);
            sys::kill(container, libc::SIGUSR1).unwrap();
            let wanted = |packet: &[u8]| packet.windows(6).any(|part| part == b"wanted");
            let deadline = Instant::now() + DEADLINE;
            loop {
                match client.receive_within(deadline.saturating_duration_since(Instant::now())) {
                    Some(Received::Packet(packet)) if wanted(&packet) => break,
                    Some(Received::Packet(_)) if Instant::now() < deadline => {}
                    other => panic!("the line never came: {other:?}"),
                }
            }
        }
    });
}
