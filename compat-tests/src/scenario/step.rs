//! One step of a scenario, read from its line of text.
//!
//! A step is a verb and its words, quoted as in a shell: `send a "hello\n"`. `docs/compat.md`
//! lists them all; this file is the only place that reads them.

use std::time::Duration;

use super::words::Words;

/// The name of a monitor in a scenario; the first one is `main`.
pub type MonitorName = String;
/// The name of an attach client.
pub type ClientName = String;

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Launch(MonitorName),
    Release(MonitorName),
    CloseStart(MonitorName),
    CloseSync(MonitorName),
    Create(MonitorName),
    StartContainer,
    Run,
    Exec(MonitorName),
    Attach {
        client: ClientName,
        monitor: MonitorName,
    },
    Send {
        client: ClientName,
        bytes: Vec<u8>,
        up_to: Option<Duration>,
    },
    HalfClose(ClientName),
    Pause(ClientName),
    Resume(ClientName),
    HangUp(ClientName),
    Fifo {
        fifo: Fifo,
        monitor: MonitorName,
        bytes: Vec<u8>,
    },
    Signal {
        target: Target,
        signal: String,
    },
    Wait {
        fact: Fact,
        up_to: Option<Duration>,
    },
    File(FileStep),
    /// A datagram to the monitor's notify socket, as a container sends it.
    Notify {
        monitor: MonitorName,
        bytes: Vec<u8>,
    },
    /// Opens or closes the host's notify socket.
    HostNotify(Switch),
    Runtime(Vec<String>),
    Look(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fifo {
    Ctl,
    Winsz,
}

/// Whom a signal is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Monitor(MonitorName),
    Launched(MonitorName),
    Container(MonitorName),
    /// The runtime call that the monitor is waiting for.
    Runtime,
}

/// A change to a file, done by the suite in the place of a caller or an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStep {
    Write {
        path: String,
        bytes: Vec<u8>,
    },
    Append {
        path: String,
        bytes: Vec<u8>,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    MakeDir(String),
    Symlink {
        target: String,
        path: String,
    },
    Mode {
        mode: u32,
        path: String,
    },
    Truncate(String),
    /// Fills the file system under this file until no byte fits any more.
    Fill(String),
}

/// What a step can wait for. Each is a state that can be looked at again and again.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    FileExists(String),
    FileGone(String),
    FileHas { path: String, bytes: Vec<u8> },
    Output { client: ClientName, bytes: Vec<u8> },
    ClientEnd(ClientName),
    Report { monitor: MonitorName, count: usize },
    AttachReport(MonitorName),
    LaunchEnd(MonitorName),
    Stderr { monitor: MonitorName, bytes: Vec<u8> },
    MonitorGone(MonitorName),
    MonitorIdle(MonitorName),
    MonitorStopped(MonitorName),
    Container { monitor: MonitorName, state: ContainerState },
    ExitCommand(usize),
    RuntimeCalls(usize),
    Journal(Vec<u8>),
    Syslog(Vec<u8>),
    HostNotify(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    Running,
    Stopped,
    Blocked,
    Gone,
}

impl Step {
    /// Reads one step.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = Words::of(line)?;
        let verb = words.text("the verb")?;
        let step = match verb.as_str() {
            "launch" => Self::Launch(words.monitor()?),
            "release" => Self::Release(words.monitor()?),
            "close-start" => Self::CloseStart(words.monitor()?),
            "close-sync" => Self::CloseSync(words.monitor()?),
            "create" => Self::Create(words.monitor()?),
            "start" => Self::StartContainer,
            "run" => Self::Run,
            "exec" => Self::Exec(words.text("the session's name")?),
            "attach" => {
                let client = words.text("the client's name")?;
                Self::Attach { client, monitor: words.monitor()? }
            }
            "send" => {
                let up_to = words.bound()?;
                let client = words.text("client")?;
                Self::Send { client, bytes: words.many_bytes("what to send")?, up_to }
            }
            "half-close" => Self::HalfClose(words.text("client")?),
            "pause" => Self::Pause(words.text("client")?),
            "resume" => Self::Resume(words.text("client")?),
            "hang-up" => Self::HangUp(words.text("client")?),
            "ctl" | "winsz" => {
                let fifo = if verb == "ctl" { Fifo::Ctl } else { Fifo::Winsz };
                let bytes = words.many_bytes("what to write")?;
                Self::Fifo { fifo, monitor: words.monitor()?, bytes }
            }
            "signal" => {
                let target = target(&words.text("whom to signal")?);
                Self::Signal { target, signal: signal_name(&words.text("the signal")?)? }
            }
            "wait" => {
                let up_to = words.bound()?;
                Self::Wait { fact: Fact::parse(&mut words)?, up_to }
            }
            "notify" => {
                let bytes = words.many_bytes("the datagram")?;
                Self::Notify { monitor: words.monitor()?, bytes }
            }
            "host-notify" => Self::HostNotify(match words.text("on or off")?.as_str() {
                "on" => Switch::On,
                "off" => Switch::Off,
                other => return Err(format!("`{other}` is neither on nor off")),
            }),
            "runtime" => Self::Runtime(words.rest()?),
            "look" => Self::Look(words.text("a name for what is seen")?),
            other => match FileStep::parse(other, &mut words)? {
                Some(step) => Self::File(step),
                None => return Err(format!("unknown step `{other}`")),
            },
        };
        words.end()?;
        Ok(step)
    }
}

fn target(word: &str) -> Target {
    match word.split_once('.') {
        None if word == "monitor" => Target::Monitor("main".into()),
        None if word == "container" => Target::Container("main".into()),
        None if word == "launched" => Target::Launched("main".into()),
        None if word == "runtime" => Target::Runtime,
        Some((name, "container")) => Target::Container(name.into()),
        Some((name, "launched")) => Target::Launched(name.into()),
        _ => Target::Monitor(word.into()),
    }
}

/// Accepts `TERM` and `SIGTERM`.
fn signal_name(word: &str) -> Result<String, String> {
    let name = if word.starts_with("SIG") { word.to_string() } else { format!("SIG{word}") };
    name.parse::<nix::sys::signal::Signal>()
        .map(|_| name)
        .map_err(|_| format!("unknown signal `{word}`"))
}

impl Fact {
    fn parse(words: &mut Words) -> Result<Self, String> {
        let what = words.text("what to wait for")?;
        Ok(match what.as_str() {
            "log" => Self::FileHas { path: "{log}".into(), bytes: words.bytes("text")? },
            "file" => {
                let path = words.text("path")?;
                match words.optional()?.as_deref() {
                    None => Self::FileExists(path),
                    Some("has") => Self::FileHas { path, bytes: words.bytes("text")? },
                    Some(other) => return Err(format!("`{other}`: did you mean `has`?")),
                }
            }
            "no-file" => Self::FileGone(words.text("path")?),
            "exit-file" => Self::FileExists("{exit_dir}/{cid}".into()),
            "output" => {
                let client = words.text("client")?;
                Self::Output { client, bytes: words.bytes("text")? }
            }
            "end" => Self::ClientEnd(words.text("client")?),
            "report" => {
                let count = words.count(1)?;
                Self::Report { monitor: words.monitor()?, count }
            }
            "attach-report" => Self::AttachReport(words.monitor()?),
            "launched" => Self::LaunchEnd(words.monitor()?),
            "stderr" => {
                let bytes = words.bytes("text")?;
                Self::Stderr { monitor: words.monitor()?, bytes }
            }
            "exit" => Self::MonitorGone(words.monitor()?),
            "idle" => Self::MonitorIdle(words.monitor()?),
            "stopped" => Self::MonitorStopped(words.monitor()?),
            "container" => {
                let state = match words.text("running, stopped, blocked or gone")?.as_str() {
                    "running" => ContainerState::Running,
                    "stopped" => ContainerState::Stopped,
                    "blocked" => ContainerState::Blocked,
                    "gone" => ContainerState::Gone,
                    other => return Err(format!("unknown container state `{other}`")),
                };
                Self::Container { monitor: words.monitor()?, state }
            }
            "exit-command" => Self::ExitCommand(words.count(1)?),
            "runtime-call" => Self::RuntimeCalls(words.count(1)?),
            "journal" => Self::Journal(words.bytes("text")?),
            "syslog" => Self::Syslog(words.bytes("text")?),
            "notify" => Self::HostNotify(words.bytes("text")?),
            other => return Err(format!("nothing is known as `{other}` to wait for")),
        })
    }
}

impl FileStep {
    fn parse(verb: &str, words: &mut Words) -> Result<Option<Self>, String> {
        Ok(Some(match verb {
            "write" => {
                let path = words.text("path")?;
                Self::Write { path, bytes: words.many_bytes("text")? }
            }
            "append" => {
                let path = words.text("path")?;
                Self::Append { path, bytes: words.many_bytes("text")? }
            }
            "rename" => {
                let from = words.text("the old path")?;
                Self::Rename { from, to: words.text("the new path")? }
            }
            "remove" => Self::Remove(words.text("path")?),
            "mkdir" => Self::MakeDir(words.text("path")?),
            "symlink" => {
                let target = words.text("target")?;
                Self::Symlink { target, path: words.text("path")? }
            }
            "chmod" => {
                let digits = words.text("mode")?;
                let mode = u32::from_str_radix(&digits, 8)
                    .map_err(|_| format!("`{digits}` is not an octal mode"))?;
                Self::Mode { mode, path: words.text("path")? }
            }
            "truncate" => Self::Truncate(words.text("path")?),
            "fill" => Self::Fill(words.text("path")?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quoted_bytes_and_defaults() {
        assert_eq!(
            Step::parse(r#"send a "hello\n\x00""#),
            Ok(Step::Send { client: "a".into(), bytes: b"hello\n\0".to_vec(), up_to: None })
        );
        assert_eq!(
            Step::parse("attach a"),
            Ok(Step::Attach { client: "a".into(), monitor: "main".into() })
        );
        assert_eq!(
            Step::parse(r#"ctl "1 2 3\n" to one"#),
            Ok(Step::Fifo { fifo: Fifo::Ctl, monitor: "one".into(), bytes: b"1 2 3\n".to_vec() })
        );
        assert_eq!(
            Step::parse("ctl 2 x ab one"),
            Ok(Step::Fifo { fifo: Fifo::Ctl, monitor: "one".into(), bytes: b"abab".to_vec() })
        );
        assert_eq!(
            Step::parse("send a 3 x ab"),
            Ok(Step::Send { client: "a".into(), bytes: b"ababab".to_vec(), up_to: None })
        );
    }

    #[test]
    fn a_wait_may_carry_its_own_bound() {
        assert_eq!(
            Step::parse("wait exit up-to 2s"),
            Ok(Step::Wait {
                fact: Fact::MonitorGone("main".into()),
                up_to: Some(Duration::from_secs(2)),
            })
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, reason) in [
            ("fly", "unknown step `fly`"),
            ("attach", "the client's name is missing"),
            ("wait sunset", "nothing is known as `sunset` to wait for"),
            ("signal monitor NOPE", "unknown signal `NOPE`"),
            ("start now", "`now` is one word too many"),
            ("send a \"x", "a quote is not closed"),
            ("chmod 9 x", "`9` is not an octal mode"),
        ] {
            assert_eq!(Step::parse(line).unwrap_err(), reason, "{line}");
        }
    }
}
