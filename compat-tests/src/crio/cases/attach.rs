//! `kubectl attach` and `kubectl run -it`.

use std::fs;

use anyhow::Result;

use super::super::argv::Settings;
use super::super::attach::Attached;
use super::super::case::{Case, case};
use super::super::node::Node;
use super::super::spec::Spec;
use crate::text::escape;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case(
        "attach",
        "tells-the-streams-apart",
        "standard output and error reach the client as such",
        streams,
    ),
    case(
        "attach",
        "ends-stdin-once",
        "with `stdinOnce` the first client's end is the container's end of file",
        stdin_once,
    ),
    case(
        "attach",
        "leaves-stdin-open",
        "without it the next client goes on where the last one left",
        stdin_open,
    ),
    case(
        "attach",
        "resizes-the-terminal",
        "a window's size is known from the start, and each change reaches the program",
        resize,
    ),
    case(
        "attach",
        "detaches-and-returns",
        "who detaches from a terminal finds it in use as before",
        detach,
    ),
    case("attach", "serves-several-clients", "everybody who watches sees the same", several),
    case(
        "attach",
        "gives-everything-before-the-end",
        "a client gets all output before its session ends",
        everything,
    ),
    case("attach", "takes-large-input", "packets of 32 KiB arrive whole", large_input),
    case(
        "attach",
        "survives-a-vanished-client",
        "the container and its log go on without the client",
        vanished,
    ),
    case(
        "attach",
        "ignores-a-size-without-a-terminal",
        "a resize of what has no window harms nobody",
        no_window,
    ),
];

fn interactive(once: bool) -> Settings {
    Settings { stdin: true, stdin_once: once, ..Settings::default() }
}

fn with_terminal() -> Settings {
    Settings { tty: true, stdin: true, ..Settings::default() }
}

/// Keeps what a client saw; packets that break the protocol must not occur.
fn note_client(node: &mut Node, name: &str, client: &Attached, stdout: &str, stderr: &str) {
    node.facts.must(format!("{name}: stdout"), escape(&client.stdout), stdout);
    node.facts.must(format!("{name}: stderr"), escape(&client.stderr), stderr);
    node.facts.must(format!("{name}: odd packets"), client.odd.join(", "), "");
    node.facts.must(format!("{name}: end"), client.end, "eof");
}

fn streams(node: &mut Node) -> Result<()> {
    let container =
        node.made(&Spec::payload("ctr", &["say", "out", "say-err", "err", "exit", "3"]))?;
    let mut client = Attached::open(node, &container)?;
    node.start(&container)?;
    client.wait_end();
    note_client(node, "client", &client, "out\\n", "err\\n");
    node.ends_with(&container, 3)
}

fn stdin_once(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["read-line", "read-line", "exit", "0"]);
    let container = node.run(&spec.with(interactive(true)))?;
    let mut client = Attached::open(node, &container)?;
    client.send(b"hello\n")?;
    client.end_input()?;
    client.wait_end();
    note_client(node, "client", &client, "got hello\\neof\\n", "");
    node.ends_with(&container, 0)
}

fn stdin_open(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["read-line", "read-line", "exit", "0"]);
    let container = node.run(&spec.with(interactive(false)))?;
    let mut first = Attached::open(node, &container)?;
    first.send(b"one\n")?;
    first.wait_output("got one\n")?;
    first.end_input()?;
    first.leave();
    let mut second = Attached::open(node, &container)?;
    second.send(b"two\n")?;
    second.wait_end();
    note_client(node, "second", &second, "got two\\n", "");
    node.ends_with(&container, 0)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F got one | stdout F got two");
    Ok(())
}

fn resize(node: &mut Node) -> Result<()> {
    let verbs = ["winsize", "on-winch", "say", "ready", "wait-file", "/shared/go", "exit", "0"];
    let container = node.made(&Spec::payload("ctr", &verbs).with(with_terminal()))?;
    let mut client = Attached::open(node, &container)?;
    client.resize(33, 101)?;
    wait_size(node, container.pid, 33, 101)?;
    node.start(&container)?;
    client.wait_output("ready\r\n")?;
    client.resize(44, 120)?;
    client.wait_output("winch 44 120\r\n")?;
    fs::write(format!("{}/go", paths::SHARED), "")?;
    client.wait_end();
    note_client(node, "client", &client, "33 101\\r\\nready\\r\\nwinch 44 120\\r\\n", "");
    node.ends_with(&container, 0)
}

fn detach(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &["read-line", "read-line", "exit", "0"]);
    let container = node.run(&spec.with(with_terminal()))?;
    let mut first = Attached::open(node, &container)?;
    first.send(b"one\n")?;
    first.wait_output("got one\r\n")?;
    // The keys are the client's own business; all that is seen of them is that it leaves.
    first.end_input()?;
    first.leave();
    node.facts.holds("the monitor goes on", node.monitor_lives(&container));
    let mut second = Attached::open(node, &container)?;
    second.send(b"two\n")?;
    second.wait_end();
    note_client(node, "second", &second, "two\\r\\ngot two\\r\\n", "");
    node.ends_with(&container, 0)
}

fn several(node: &mut Node) -> Result<()> {
    let container = node.made(&Spec::payload("ctr", &["say", "to all", "exit", "0"]))?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Attached::open(node, &container)?);
    }
    node.start(&container)?;
    for (number, mut client) in clients.into_iter().enumerate() {
        client.wait_end();
        note_client(node, &format!("client {number}"), &client, "to all\\n", "");
    }
    node.ends_with(&container, 0)
}

fn everything(node: &mut Node) -> Result<()> {
    let verbs = ["print-bytes", "300000", "x", "say", "end", "exit", "0"];
    let container = node.made(&Spec::payload("ctr", &verbs))?;
    let mut client = Attached::open(node, &container)?;
    node.start(&container)?;
    let end = client.wait_end();
    node.facts.must("end", end, "eof");
    node.facts.must("bytes", client.stdout.len(), 300_004);
    node.facts.holds("the end is there", client.stdout.ends_with(b"end\n"));
    node.facts.must("odd packets", client.odd.join(", "), "");
    node.ends_with(&container, 0)
}

fn large_input(node: &mut Node) -> Result<()> {
    let input: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let sum = input.iter().fold(0_u64, |sum, byte| (sum * 31 + u64::from(*byte)) % 1_000_003);
    let spec = Spec::payload("ctr", &["count-stdin", "exit", "0"]);
    let container = node.run(&spec.with(interactive(true)))?;
    let mut client = Attached::open(node, &container)?;
    client.send(&input)?;
    client.end_input()?;
    client.wait_end();
    let wanted = format!("read {} bytes sum {sum}\\n", input.len());
    note_client(node, "client", &client, &wanted, "");
    node.ends_with(&container, 0)
}

fn vanished(node: &mut Node) -> Result<()> {
    let verbs = ["say", "one", "wait-file", "/shared/go", "numbered", "500", "50", "exit", "7"];
    let container = node.run(&Spec::payload("ctr", &verbs).with(interactive(false)))?;
    let mut client = Attached::open(node, &container)?;
    client.send(b"typed ahead")?;
    drop(client);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 7)?;
    let lines = node.log(&container).stdout.split(|byte| *byte == b'\n').count();
    node.facts.must("lines in the log", lines, 502);
    Ok(())
}

fn no_window(node: &mut Node) -> Result<()> {
    let verbs = ["say", "one", "wait-file", "/shared/go", "say", "two", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    let mut client = Attached::open(node, &container)?;
    for _ in 0..20 {
        client.resize(24, 80)?;
        // Before 2.2.0 the reference obeys only the first of several lines it reads at once.
        client.wait_control()?;
    }
    let came = node.reopen(&container)?;
    node.facts.holds("the FIFO is served after that", came);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 0)
}

/// Waits until the terminal of a process has a size.
fn wait_size(node: &Node, pid: i32, height: u16, width: u16) -> Result<()> {
    let has = || {
        let terminal = fs::File::open(format!("/proc/{pid}/fd/0"));
        terminal.is_ok_and(|terminal| {
            rustix::termios::tcgetwinsize(&terminal)
                .is_ok_and(|size| size.ws_row == height && size.ws_col == width)
        })
    };
    anyhow::ensure!(node.until(has), "the terminal does not get its size");
    Ok(())
}
