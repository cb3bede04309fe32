//! What kubelet reads, and rotates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use super::super::argv::Settings;
use super::super::case::{Case, case};
use super::super::container::Container;
use super::super::log::Log;
use super::super::node::Node;
use super::super::spec::Spec;
use crate::clock::now;
use crate::observe::datagrams::Inbox;
use crate::text::escape;
use crate::world::paths;

pub(super) const CASES: &[Case] = &[
    case("log", "has-the-form-of-the-cri", "kubelet drops every line it cannot parse", form),
    case("log", "cuts-long-lines", "a line of any length comes out whole", long_line),
    case(
        "log",
        "ends-without-a-newline",
        "a prompt or a last word without newline is not lost",
        no_newline,
    ),
    case("log", "keeps-every-byte", "output need not be text", every_byte),
    case(
        "log",
        "is-reopened",
        "kubelet has renamed it; CRI-O waits until the new one is there",
        reopened,
    ),
    case(
        "log",
        "is-rotated-while-it-is-written",
        "no line is lost or doubled by a rotation",
        rotated,
    ),
    case(
        "log",
        "is-reopened-after-it-was-removed",
        "an administrator who clears up must not stop the log",
        removed,
    ),
    case("log", "keeps-within-log-size-max", "`log_size_max` bounds the file", size_max),
    case("log", "is-the-same-without-sync", "`no_sync_log` changes nothing in the log", no_sync),
    case("log", "goes-to-the-journal-too", "with `log_to_journald` both get the output", journal),
];

fn form(node: &mut Node) -> Result<()> {
    let verbs =
        ["say", "one", "drain", "say-err", "two", "say", "", "drain", "say", "a  b ", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container);
    node.facts.must("stdout", escape(&log.stdout), "one\\n\\na  b \\n");
    node.facts.must("stderr", escape(&log.stderr), "two\\n");
    node.facts.must("lines", log.lines.len(), 4);
    node.facts.must("partial lines", log.partial(), 0);
    let mode = fs::metadata(&container.log)?.permissions().mode();
    node.facts.note("mode", format!("{:o}", mode & 0o7777));
    Ok(())
}

fn long_line(node: &mut Node) -> Result<()> {
    let verbs = ["print-bytes", "20000", "x", "say", "", "say", "end", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container);
    node.facts.must("length", log.stdout.len(), 20_000 + 1 + 4);
    node.facts.holds("it is in pieces", log.partial() > 0);
    let longest = log.lines.iter().map(|line| line.content.len()).max().unwrap_or_default();
    node.facts.holds("no piece is longer than 16384", longest <= 16_384);
    node.facts.must("last line", log.last(), "stdout F end");
    Ok(())
}

fn no_newline(node: &mut Node) -> Result<()> {
    let verbs = ["print", "login: ", "drain", "print-err", "error", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.ends_with(&container, 0)?;
    let mut log = node.log(&container);
    // The streams are read each on its own.
    log.lines.sort_by_key(|line| line.head);
    node.facts.must("lines", log.text(), "stderr P error | stdout P login: ");
    Ok(())
}

fn every_byte(node: &mut Node) -> Result<()> {
    let bytes: Vec<u8> = (0..=255).collect();
    // In one write with its newline, so that both monitors see the same pieces.
    let hex: String = bytes.iter().chain(b"\n").map(|byte| format!("{byte:02x}")).collect();
    let container = node.run(&Spec::payload("ctr", &["raw", &hex, "exit", "0"]))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container);
    node.facts.holds("every byte is there", log.stdout == [&bytes[..], b"\n"].concat());
    node.facts.note("lines", log.text());
    Ok(())
}

fn reopened(node: &mut Node) -> Result<()> {
    let verbs = ["say", "one", "wait-file", "/shared/go", "say", "two", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "one")?;
    node.rotate(&container, "0.log.20260101-000000")?;
    let empty = fs::metadata(&container.log)?.len();
    node.facts.must("size of the new log", empty, 0);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container).text();
    node.facts.must("new log", log, "stdout F two");
    let old = old_log(node, &container, "0.log.20260101-000000").text();
    node.facts.must("old log", old, "stdout F one");
    Ok(())
}

fn old_log(node: &Node, container: &Container, name: &str) -> Log {
    Log::read(&container.log.with_file_name(name), node.began, now())
}

fn rotated(node: &mut Node) -> Result<()> {
    const LINES: usize = 6000;
    const TIMES: usize = 4;
    let mut verbs: Vec<String> = Vec::new();
    for part in 0..TIMES {
        let (half, done) = (format!("/shared/half-{part}"), format!("/shared/done-{part}"));
        // The rotation comes while the second half is written.
        let words = ["numbered", "1000", "60", "touch", &half, "numbered", "500", "60"];
        verbs.extend([&words[..], &["wait-file", &done]].concat().iter().map(ToString::to_string));
    }
    verbs.extend(["exit", "0"].map(str::to_owned));
    let words: Vec<&str> = verbs.iter().map(String::as_str).collect();
    let container = node.run(&Spec::payload("ctr", &words))?;
    for part in 0..TIMES {
        let half = format!("{}/half-{part}", paths::SHARED);
        node.until(|| fs::exists(&half).unwrap_or(false));
        node.rotate(&container, &format!("0.log.{part}"))?;
        fs::write(format!("{}/done-{part}", paths::SHARED), "")?;
    }
    node.ends_with(&container, 0)?;
    // A line may begin in one file and end in the next.
    let mut all: Vec<u8> = Vec::new();
    let mut complaints: Vec<String> = Vec::new();
    for part in 0..TIMES {
        let log = old_log(node, &container, &format!("0.log.{part}"));
        all.extend(log.stdout);
        complaints.extend(log.problems);
    }
    all.extend(node.log(&container).stdout);
    let all: Vec<String> = String::from_utf8_lossy(&all).lines().map(str::to_owned).collect();
    node.facts.must("complaints of the old logs", complaints.join("; "), "");
    node.facts.must("lines in all", all.len(), LINES);
    let numbers = (0..TIMES).flat_map(|_| (1..=1000).chain(1..=500));
    let in_order = all.iter().zip(numbers).all(|(line, number)| {
        line.split('.').next().and_then(|text| text.parse().ok()) == Some(number)
    });
    node.facts.holds("all in order", in_order);
    Ok(())
}

fn removed(node: &mut Node) -> Result<()> {
    let verbs = ["say", "one", "wait-file", "/shared/go", "say", "two", "exit", "0"];
    let container = node.run(&Spec::payload("ctr", &verbs))?;
    node.wait_log(&container, "one")?;
    fs::remove_file(&container.log)?;
    let came = node.reopen(&container)?;
    node.facts.holds("a new log is seen", came);
    fs::write(format!("{}/go", paths::SHARED), "")?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F two");
    Ok(())
}

fn size_max(node: &mut Node) -> Result<()> {
    const LIMIT: u64 = 1000;
    // Each line is taken before the next is written, so both monitors see the same pieces.
    let text: String = (0..40).map(|number| format!("line {number:02}\n")).collect();
    let settings = Settings { log_size_max: Some(LIMIT), ..Settings::default() };
    let spec = Spec::payload("ctr", &["write-split", &text, "8", "exit", "0"]);
    let container = node.run(&spec.with(settings))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container);
    node.facts.holds("the file is not larger", fs::metadata(&container.log)?.len() <= LIMIT);
    node.facts.must("last line", log.last(), "stdout F line 39");
    node.facts.note("lines", log.text());
    Ok(())
}

fn no_sync(node: &mut Node) -> Result<()> {
    let settings = Settings { no_sync_log: true, ..Settings::default() };
    let spec = Spec::payload("ctr", &["say", "one", "exit", "0"]);
    let container = node.run(&spec.with(settings))?;
    node.ends_with(&container, 0)?;
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F one");
    Ok(())
}

fn journal(node: &mut Node) -> Result<()> {
    let mut inbox = Inbox::open(paths::JOURNAL)?;
    let settings = Settings { log_to_journald: true, ..Settings::default() };
    let spec = Spec::payload("ctr", &["say", "both", "exit", "0"]);
    let container = node.run(&spec.with(settings))?;
    node.ends_with(&container, 0)?;
    inbox.pump();
    let entries: Vec<String> = inbox.received.iter().map(|entry| escape(&entry.bytes)).collect();
    node.facts.must("entries in the journal", entries.len(), 1);
    let entry = entries.first().cloned().unwrap_or_default();
    let id = format!("CONTAINER_ID_FULL={}\\n", container.id);
    node.facts.holds("it has the id", entry.contains(&id));
    node.facts.holds("it has the text", entry.contains("both"));
    let log = node.log(&container).text();
    node.facts.must("log", log, "stdout F both");
    Ok(())
}
