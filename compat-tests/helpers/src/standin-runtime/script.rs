//! The script: read, checked as a whole before any of it is carried out.

use crate::arguments::{Call, Command};
use crate::problem::Problem;
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;

/// What one call is to do.
#[derive(Debug, Eq, PartialEq)]
pub struct Script {
    pub container: Vec<String>,
    pub start: Start,
    pub parent: Parent,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    #[default]
    AtOnce,
    OnStart,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Parent {
    #[default]
    Runtime,
    Intermediate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handover {
    Terminal,
    NullFd,
    TwoFds,
    NoFd,
    Close,
    Nothing,
}

#[derive(Debug, Eq, PartialEq)]
pub enum Step {
    Container,
    WaitContainer,
    AwaitContainer,
    KillContainer,
    PidFile,
    PidFileText(String),
    LatePidFile(PathBuf),
    Console(Handover),
    AwaitConsole,
    Print { fd: i32, text: Vec<u8> },
    LeaveHolder(PathBuf),
    WaitFile(PathBuf),
    Touch(PathBuf),
    Hang,
    Ignore(Signal),
    KillSelf(Signal),
    Exit(i32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    container: Option<Vec<String>>,
    start: Option<Start>,
    parent: Option<Parent>,
    steps: Option<Vec<Vec<String>>>,
    exec: Option<Table>,
    restore: Option<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    container: Option<Vec<String>>,
    start: Option<Start>,
    parent: Option<Parent>,
    steps: Option<Vec<Vec<String>>>,
}

/// Reads the script of `call` and picks what concerns its command.
pub fn load(call: &Call) -> Result<Script, Problem> {
    let path = call.beside(".script.toml");
    let refuse = |reason| Problem::Script { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    let File { container, start, parent, steps, exec, restore } = file;
    let common = Table { container, start, parent, steps };
    let table = match call.command {
        Command::Exec => exec.unwrap_or(common),
        Command::Restore => restore.unwrap_or(common),
        Command::Create | Command::Start => common,
    };
    let steps = match table.steps {
        Some(steps) => {
            steps.into_iter().map(|words| step(fill(call, words))).collect::<Result<_, _>>()?
        }
        None => default_steps(call),
    };
    Ok(Script {
        container: fill(call, table.container.unwrap_or_default()),
        start: table.start.unwrap_or_default(),
        parent: table.parent.unwrap_or_default(),
        steps,
    })
}

fn default_steps(call: &Call) -> Vec<Step> {
    let steps = [Step::Container, Step::PidFile];
    if call.console_socket.is_none() {
        return steps.into();
    }
    let console = [Step::Console(Handover::Terminal)];
    console.into_iter().chain(steps).chain([Step::AwaitConsole]).collect()
}

/// Puts what the call said in place of the names in braces.
fn fill(call: &Call, words: Vec<String>) -> Vec<String> {
    let pid_file = call.pid_file.clone().unwrap_or_default();
    let replace = |word: String| {
        if !word.contains('{') {
            return word;
        }
        word.replace("{cid}", &call.container_id.to_string_lossy())
            .replace("{bundle}", &call.bundle.to_string_lossy())
            .replace("{pid-file}", &pid_file.to_string_lossy())
    };
    words.into_iter().map(replace).collect()
}

fn step(words: Vec<String>) -> Result<Step, Problem> {
    let parts: Vec<&str> = words.iter().map(String::as_str).collect();
    let print = |fd, text: &[u8]| Step::Print { fd, text: text.to_vec() };
    let known = match *parts {
        ["container"] => Some(Step::Container),
        ["wait-container"] => Some(Step::WaitContainer),
        ["await-container"] => Some(Step::AwaitContainer),
        ["kill-container"] => Some(Step::KillContainer),
        ["pid-file"] => Some(Step::PidFile),
        ["pid-file", text] => Some(Step::PidFileText(text.into())),
        ["late-pid-file", path] => Some(Step::LatePidFile(path.into())),
        ["console"] => Some(Step::Console(Handover::Terminal)),
        ["console", how] => handover(how).map(Step::Console),
        ["await-console"] => Some(Step::AwaitConsole),
        ["stdout", text] => Some(print(1, text.as_bytes())),
        ["stderr", text] => Some(print(2, text.as_bytes())),
        ["stdout-bytes", count] => count.parse().ok().map(|count| print(1, &vec![b'x'; count])),
        ["stderr-bytes", count] => count.parse().ok().map(|count| print(2, &vec![b'x'; count])),
        ["stderr-hex", hex] => bytes(hex).map(|text| print(2, &text)),
        ["leave-holder", path] => Some(Step::LeaveHolder(path.into())),
        ["wait-file", path] => Some(Step::WaitFile(path.into())),
        ["touch", path] => Some(Step::Touch(path.into())),
        ["hang"] => Some(Step::Hang),
        ["ignore", name] => signal(name).map(Step::Ignore),
        ["kill-self", name] => signal(name).map(Step::KillSelf),
        ["exit", status] => status.parse().ok().map(Step::Exit),
        _ => None,
    };
    known.ok_or(Problem::Step(words))
}

fn handover(how: &str) -> Option<Handover> {
    match how {
        "null-fd" => Some(Handover::NullFd),
        "two-fds" => Some(Handover::TwoFds),
        "no-fd" => Some(Handover::NoFd),
        "close" => Some(Handover::Close),
        "nothing" => Some(Handover::Nothing),
        _ => None,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn signal(name: &str) -> Option<Signal> {
    let by_number = || Signal::try_from(name.parse::<i32>().ok()?).ok();
    let full = if name.starts_with("SIG") { name.into() } else { format!("SIG{name}") };
    full.parse().ok().or_else(by_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn reads_steps_with_their_arguments() {
        assert_eq!(step(words("exit 3")).ok(), Some(Step::Exit(3)));
        assert_eq!(step(words("kill-self TERM")).ok(), Some(Step::KillSelf(Signal::SIGTERM)));
        assert_eq!(step(words("console no-fd")).ok(), Some(Step::Console(Handover::NoFd)));
        let bytes = Step::Print { fd: 2, text: b"xxx".to_vec() };
        assert_eq!(step(words("stderr-bytes 3")).ok(), Some(bytes));
        let bytes = Step::Print { fd: 2, text: vec![0, 0x41, 0xff] };
        assert_eq!(step(words("stderr-hex 0041ff")).ok(), Some(bytes));
    }

    #[test]
    fn refuses_unknown_steps_and_wrong_counts_of_words() {
        for line in [
            "jump",
            "exit",
            "exit x",
            "stderr-hex 0g",
            "console sideways",
            "hang now",
            "kill-self NONE",
        ] {
            assert!(step(words(line)).is_err(), "{line}");
        }
    }
}
