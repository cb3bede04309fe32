//! `conmon-compat show`: a scenario in words, and as lines to type.

use std::fmt::Write;

use crate::scenario::step::{Fact, Fifo, FileStep, Target};
use crate::scenario::{Line, PipeKind, RuntimeKind, Scenario, Step};
use crate::world::argv;
use anyhow::Result;

/// Describes a scenario.
pub fn describe(scenario: &Scenario) -> Result<String> {
    let mut out = String::new();
    let data = &scenario.data;
    writeln!(out, "{}\n  {}\n", scenario.name, data.why)?;
    let runtimes: Vec<String> = data.runtimes.iter().map(ToString::to_string).collect();
    if !data.rules.is_empty() {
        writeln!(out, "rules:     {} (docs/specification)", data.rules.join(", "))?;
    }
    writeln!(out, "runtimes:  {}", runtimes.join(", "))?;
    writeln!(out, "container: {}", line(&data.container.argv))?;
    let more = [(data.container.tty, "a terminal"), (data.container.stdin, "standard input")];
    for (_, what) in more.iter().filter(|(has, _)| *has) {
        writeln!(out, "           with {what}")?;
    }
    writeln!(out, "\nsteps:")?;
    for (number, line) in (1..).zip(&scenario.steps) {
        writeln!(out, "  {number:2}. {}", line.text)?;
    }
    writeln!(
        out,
        "\nby hand, in bash (the paths are those of a world; `conmon` is either monitor):\n"
    )?;
    let kind = data.runtimes.first().copied().unwrap_or(RuntimeKind::Crun);
    for step in &scenario.steps {
        for line in by_hand(scenario, kind, step)? {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(out)
}

fn by_hand(scenario: &Scenario, kind: RuntimeKind, written: &Line) -> Result<Vec<String>> {
    Ok(match &written.step {
        Step::Launch(name) => start(scenario, kind, name, Start::Later)?,
        Step::Create(name) | Step::Exec(name) => start(scenario, kind, name, Start::AtOnce)?,
        Step::Run => {
            let mut lines = start(scenario, kind, "main", Start::AtOnce)?;
            lines.push(format!("{kind} start {}", argv::container_id(scenario)));
            lines
        }
        Step::StartContainer => vec![format!("{kind} start {}", argv::container_id(scenario))],
        Step::Release(_) => vec!["printf '\\0' >&9                # the start pipe".into()],
        Step::CloseStart(_) => vec!["exec 9>&-                       # the start pipe".into()],
        Step::CloseSync(_) => vec!["# the reader of the sync pipe leaves".into()],
        Step::Attach { client, .. } => {
            vec![format!("socat -t9 - UNIX-CONNECT:attach,type=5 &   # client {client}")]
        }
        Step::Send { client, bytes, .. } => {
            vec![format!("printf '{}' # as {client}", shown(bytes))]
        }
        Step::Fifo { fifo, bytes, .. } => {
            let name = if *fifo == Fifo::Ctl { "ctl" } else { "winsz" };
            vec![format!("printf '{}' > {name}", shown(bytes))]
        }
        Step::Signal { target, signal } => {
            let whom = match target {
                Target::Monitor(name) => format!("$({name} monitor)"),
                Target::Launched(name) => format!("$({name} first process)"),
                Target::Container(_) => "$(cat pidfile)".into(),
                Target::Runtime => "$(the runtime)".into(),
            };
            vec![format!("kill -{} {whom}", signal.trim_start_matches("SIG"))]
        }
        Step::Wait { fact, .. } => vec![wait(fact, &written.text)],
        Step::File(file) => vec![change(file)],
        Step::Notify { bytes, .. } => {
            vec![format!("printf '{}' | socat - UNIX-SENDTO:notify/notify.sock", shown(bytes))]
        }
        Step::Runtime(words) => vec![format!("{kind} {}", line(words))],
        Step::HalfClose(client) => vec![format!("# client {client} shuts its sending side down")],
        Step::Pause(client) => vec![format!("# client {client} stops reading")],
        Step::Resume(client) => vec![format!("# client {client} reads again")],
        Step::HangUp(client) => vec![format!("# client {client} closes its socket")],
        Step::HostNotify(switch) => vec![format!("# the host's notify socket: {switch:?}")],
        Step::Look(name) => vec![format!("# look at /proc/MONITOR and the files: {name}")],
    })
}

/// When the byte comes that a monitor waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    AtOnce,
    Later,
}

fn start(scenario: &Scenario, kind: RuntimeKind, name: &str, begin: Start) -> Result<Vec<String>> {
    let call = argv::call(scenario, name, kind).map_err(anyhow::Error::msg)?;
    let variables: Vec<String> = call
        .env
        .iter()
        .filter(|(key, _)| !key.starts_with("CONMON_COMPAT"))
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    let mut lines = vec![format!("cd {}", call.cwd)];
    let mut pipes = String::new();
    if call.pipes != PipeKind::None {
        write!(pipes, " {}> >(cat)", call.sync_fd)?;
    }
    if let Some(fd) = call.attach_fd {
        write!(pipes, " {fd}> >(cat)")?;
    }
    match (call.start_fd, begin) {
        (None, _) => {}
        (Some(fd), Start::AtOnce) => write!(pipes, " {fd}< <(printf '\\0')")?,
        (Some(fd), Start::Later) => {
            lines.push("mkfifo /tmp/start; exec 9<>/tmp/start".into());
            write!(pipes, " {fd}</tmp/start &")?;
        }
    }
    lines.push(format!("env -i {} \\", variables.join(" ")));
    lines.push(format!("  conmon {}{pipes}", line(&call.argv)));
    Ok(lines)
}

fn wait(fact: &Fact, written: &str) -> String {
    match fact {
        Fact::FileExists(path) => format!("until [ -e {path} ]; do :; done"),
        Fact::FileGone(path) => format!("while [ -e {path} ]; do :; done"),
        Fact::FileHas { path, bytes } => {
            format!("until grep -qF '{}' {path}; do :; done", shown(bytes))
        }
        _ => format!("# {written}"),
    }
}

fn change(step: &FileStep) -> String {
    match step {
        FileStep::Write { path, bytes } => format!("printf '{}' > {path}", shown(bytes)),
        FileStep::Append { path, bytes } => format!("printf '{}' >> {path}", shown(bytes)),
        FileStep::Rename { from, to } => format!("mv {from} {to}"),
        FileStep::Remove(path) => format!("rm -r {path}"),
        FileStep::MakeDir(path) => format!("mkdir -p {path}"),
        FileStep::Symlink { target, path } => format!("ln -s {target} {path}"),
        FileStep::Mode { mode, path } => format!("chmod {mode:o} {path}"),
        FileStep::Truncate(path) => format!("truncate -s 0 {path}"),
        FileStep::Fill(path) => format!("cat /dev/zero >> {path}"),
    }
}

fn shown(bytes: &[u8]) -> String {
    crate::text::escape(bytes).chars().take(200).collect()
}

fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
