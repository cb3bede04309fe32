//! ExecSync: probes, lifecycle hooks, `crictl exec --sync`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::{Pid, getpgid, getpgrp};

use super::super::argv::Settings;
use super::super::case::{Case, case};
use super::super::container::Container;
use super::super::exec::{Answer, MOST_OUTPUT};
use super::super::node::Node;
use super::super::spec::Spec;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case(
        "exec",
        "answers-with-both-streams",
        "a probe's output is in the event of its pod",
        both_streams,
    ),
    case("exec", "answers-with-the-status", "a probe fails by its command's status", status),
    case(
        "exec",
        "answers-with-the-signal",
        "a command that was killed has the status a shell would give",
        killed,
    ),
    case("exec", "names-a-missing-command", "a probe whose command is not there says so", missing),
    case("exec", "times-out", "kubelet goes by the text `command timed out`", times_out),
    case("exec", "is-in-time", "a timeout that is not reached changes nothing", in_time),
    case(
        "exec",
        "does-not-wait-for-the-background",
        "a hook that starts a daemon returns",
        background,
    ),
    case(
        "exec",
        "keeps-a-line-without-a-newline",
        "an answer is what the command wrote, to the byte",
        partial,
    ),
    case("exec", "bounds-its-output", "an answer of more than 16 MiB is cut", bounded),
    case(
        "exec",
        "has-a-terminal-in-a-container-with-one",
        "a container's terminal is a session's too",
        terminal,
    ),
    case("exec", "has-nothing-to-read", "a probe cannot wait for input", no_input),
    case(
        "exec",
        "fails-in-a-stopped-container",
        "a probe that comes too late is an error",
        stopped,
    ),
    case(
        "exec",
        "leaves-the-callers-process-group",
        "CRI-O starts a probe's monitor in its own group, and what is sent to that must not end the probe",
        group,
    ),
    case("exec", "runs-side-by-side", "several probes at a time do not mix", side_by_side),
];

fn idle(node: &mut Node) -> Result<Container> {
    node.run(&Spec::payload("ctr", &["sleep-forever"]))
}

fn must(node: &mut Node, name: &str, answer: &Answer, wanted: &str) {
    node.facts.must(format!("exec {name}: answer"), answer.text(), wanted);
}

fn both_streams(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let verbs = ["say", "out", "say-err", "err", "exit", "0"];
    let answer = node.exec_sync(&container, "one", &verbs, None)?;
    must(node, "one", &answer, "0, stdout `out\\n`, stderr `err\\n`");
    node.kill(&container)
}

fn status(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    for (name, code) in [("one", "1"), ("many", "255")] {
        let answer = node.exec_sync(&container, name, &["exit", code], None)?;
        must(node, name, &answer, &format!("{code}, stdout ``, stderr ``"));
    }
    node.kill(&container)
}

fn killed(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let answer = node.exec_sync(&container, "one", &["kill-self", "KILL"], None)?;
    must(node, "one", &answer, "137, stdout ``, stderr ``");
    node.kill(&container)
}

fn missing(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let session = node.begin_exec(&container, "one", &["/no-such-program"], None)?;
    let answer = node.answer(session)?;
    let text = answer.text();
    node.facts.holds("it is an error", matches!(answer, Answer::Error(_)));
    node.facts.holds("it names the command", text.contains("no-such-program"));
    node.facts.note("answer", text);
    node.kill(&container)
}

fn times_out(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let started = Instant::now();
    let verbs = ["say", "begun", "sleep-forever"];
    let answer = node.exec_sync(&container, "one", &verbs, Some(1))?;
    must(node, "one", &answer, "-1, stdout ``, stderr `command timed out`");
    // The reference counts in whole seconds of its own clock and may be early.
    node.facts.holds("it was waited for", started.elapsed() > Duration::from_millis(500));
    // The command is gone: the container's own process is the only one left of its program.
    let gone = node.until(|| sleepers() == 1);
    node.facts.holds("the command is gone", gone);
    node.kill(&container)
}

/// Processes that run the test program.
fn sleepers() -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let exe = |path: std::path::PathBuf| fs::read_link(path.join("exe")).unwrap_or_default();
    entries.filter(|entry| exe(entry.path()).ends_with("payload")).count()
}

fn in_time(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let answer = node.exec_sync(&container, "one", &["say", "quick", "exit", "0"], Some(60))?;
    must(node, "one", &answer, "0, stdout `quick\\n`, stderr ``");
    node.kill(&container)
}

fn background(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let verbs = ["say", "started", "drain", "fork-holder", "/shared/go", "exit", "0"];
    let answer = node.exec_sync(&container, "one", &verbs, None)?;
    must(node, "one", &answer, "0, stdout `started\\n`, stderr ``");
    node.facts.must("processes of the program", sleepers(), 2);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.kill(&container)
}

fn partial(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let answer = node.exec_sync(&container, "one", &["print", "no newline", "exit", "0"], None)?;
    must(node, "one", &answer, "0, stdout `no newline`, stderr ``");
    node.kill(&container)
}

fn bounded(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let verbs = ["lines", "17000", "1024", "exit", "3"];
    let answer = node.exec_sync(&container, "one", &verbs, None)?;
    let Answer::Response { code, stdout, .. } = answer else {
        anyhow::bail!("an error");
    };
    node.facts.must("code", code, 3);
    let most = usize::try_from(MOST_OUTPUT)?;
    node.facts.holds("it is cut", stdout.len() <= most);
    // Whole chunks are dropped, so where the end is depends on them.
    node.facts.holds("it is most of what may be", stdout.len() > most / 10 * 9);
    let line = b"0123456789abcdef".iter().cycle().take(1023).copied().chain([b'\n']);
    let line: Vec<u8> = line.collect();
    let whole = stdout.chunks_exact(1024).all(|chunk| chunk == line);
    node.facts.holds("its lines are whole", whole);
    node.kill(&container)
}

fn terminal(node: &mut Node) -> Result<()> {
    let settings = Settings { tty: true, ..Settings::default() };
    let container = node.run(&Spec::payload("ctr", &["sleep-forever"]).with(settings))?;
    let verbs = ["isatty", "say-err", "err", "exit", "0"];
    let answer = node.exec_sync(&container, "one", &verbs, None)?;
    must(node, "one", &answer, "0, stdout `tty tty tty\\r\\nerr\\r\\n`, stderr ``");
    node.kill(&container)
}

fn no_input(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let answer = node.exec_sync(&container, "one", &["read-line", "exit", "0"], Some(30))?;
    must(node, "one", &answer, "0, stdout `eof\\n`, stderr ``");
    node.kill(&container)
}

fn stopped(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    node.signal(&container, "KILL")?;
    let exit = node.exit_of(&container)?;
    node.facts.must("exit code", exit.code, 137);
    let answer = node.exec_sync(&container, "one", &["exit", "0"], None)?;
    node.facts.holds("it is an error", matches!(answer, Answer::Error(_)));
    node.facts.note("answer", answer.text());
    node.remove(&container)
}

fn group(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    node.facts.must("group of a container's monitor", group_of(container.monitor), "its own");
    let command = [paths::PAYLOAD, "wait-file", "/shared/go", "exit", "0"];
    let session = node.begin_exec(&container, "one", &command, Some(60))?;
    let begun = node.until(|| sleepers() == 2);
    node.facts.holds("the command runs", begun);
    node.facts.must("group of a session's monitor", group_of(session.pid()), "its own");
    fs::write(format!("{}/go", paths::SHARED), "")?;
    let answer = node.answer(session)?;
    must(node, "one", &answer, "0, stdout ``, stderr ``");
    node.kill(&container)
}

/// Whose process group a monitor is in.
fn group_of(pid: i32) -> &'static str {
    let own = Pid::from_raw(pid);
    match getpgid(Some(own)) {
        Ok(group) if group == getpgrp() => "CRI-O's",
        Ok(group) if group == own => "its own",
        Ok(_) => "another's",
        Err(_) => "none",
    }
}

fn side_by_side(node: &mut Node) -> Result<()> {
    let container = idle(node)?;
    let names = ["a", "b", "c", "d", "e"];
    let mut sessions = Vec::new();
    for (code, name) in names.iter().enumerate() {
        let code = code.to_string();
        let command = [paths::PAYLOAD, "say", name, "exit", &code];
        sessions.push(node.begin_exec(&container, name, &command, Some(60))?);
    }
    for (code, session) in sessions.into_iter().enumerate() {
        let answer = node.answer(session)?;
        let name = names[code];
        must(node, name, &answer, &format!("{code}, stdout `{name}\\n`, stderr ``"));
    }
    node.kill(&container)
}
