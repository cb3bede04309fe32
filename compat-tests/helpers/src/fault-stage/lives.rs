//! The lives: what the caller asks for and what the container does.

use std::{fs, io};

use crate::place::{BUNDLE, CID, EXIT_COMMAND, EXITS, LOGS, NOTIFY_HOST, PERSIST, RUNTIME};

/// A life, as data.
#[derive(Debug)]
pub struct Life {
    pub name: &'static str,
    pub log: Option<&'static str>,
    /// More options.
    pub options: &'static [&'static str],
    pub terminal: bool,
    pub stdin: bool,
    pub notify: bool,
    /// An exec session.
    pub session: bool,
    /// What the caller of a session wants: to attach, or (legacy) its exit status alone.
    pub attaches: bool,
    pub clients: usize,
    /// Lines on `ctl` and `winsz` before the container goes on.
    pub control: bool,
    /// The first lines come one by one: so many, until the monitor waits for nothing else.
    pub alone: usize,
}

const PLAIN: Life = Life {
    name: "k8s-file",
    log: Some("k8s-file:/run/life/logs/log"),
    options: &[],
    terminal: false,
    stdin: false,
    notify: false,
    session: false,
    attaches: false,
    clients: 0,
    control: false,
    alone: 0,
};

/// All of them.
pub const LIVES: &[Life] = &[
    PLAIN,
    Life { name: "journald", log: Some("journald"), ..PLAIN },
    Life { name: "terminal", terminal: true, stdin: true, clients: 1, control: true, ..PLAIN },
    Life { name: "attach", stdin: true, clients: 2, ..PLAIN },
    Life {
        name: "exec",
        log: None,
        session: true,
        attaches: true,
        clients: 1,
        stdin: true,
        ..PLAIN
    },
    Life { name: "exec-sync", session: true, options: &["--sync"], ..PLAIN },
    Life { name: "notify", notify: true, ..PLAIN },
    Life {
        name: "rotation",
        options: &["--log-size-max", "6000", "--log-rotate", "--log-max-files", "9"],
        control: true,
        ..PLAIN
    },
    Life { name: "steady", alone: 24, clients: 1, ..PLAIN },
];

/// The life of this name.
pub fn find(name: &str) -> Option<&'static Life> {
    LIVES.iter().find(|life| life.name == name)
}

/// The line a client types.
pub const TYPED: &str = "typed by a client\n";
/// The container's exit status.
pub const STATUS: i32 = 3;
/// What the container tells the service manager.
pub const NOTIFICATION: &str = "READY=1\nSTATUS=up";

impl Life {
    /// Whether the launched process stays and is the monitor.
    pub fn keeps_process(&self) -> bool {
        self.options.contains(&"--sync")
    }

    /// Whether the API is the one without versions, whose reports have other words.
    fn is_legacy(&self) -> bool {
        self.session && !self.attaches
    }

    /// Puts what only this life needs into the bundle.
    pub fn furnish_bundle(&self) -> io::Result<()> {
        if self.notify {
            fs::create_dir(format!("{BUNDLE}/notify"))?;
        }
        if self.session {
            fs::write(format!("{BUNDLE}/process.json"), "{}")?;
        }
        Ok(())
    }

    /// The monitor's arguments.
    pub fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = [
            "-c",
            CID,
            "-u",
            CID,
            "-n",
            "name",
            "-r",
            RUNTIME,
            "-b",
            BUNDLE,
            "--exit-dir",
            EXITS,
            "--full-attach",
            "--syslog",
            "--log-level",
            "warning",
        ]
        .map(String::from)
        .to_vec();
        words.extend(["-p".into(), format!("{BUNDLE}/pidfile")]);
        words.extend(["-l".into(), self.log.unwrap_or("none").into()]);
        if !self.is_legacy() {
            words.push("--api-version".into());
        }
        if self.session {
            let spec = format!("{BUNDLE}/process.json");
            words.extend(["--exec".into(), "--exec-process-spec".into(), spec]);
            words.extend(self.attaches.then(|| "--exec-attach".into()));
        } else {
            words.extend(["--persist-dir".into(), PERSIST.into()]);
            words.extend(["-P".into(), format!("{BUNDLE}/conmon.pid")]);
        }
        words.extend(["--exit-command".into(), EXIT_COMMAND.into()]);
        words.extend(self.terminal.then(|| "-t".into()));
        words.extend(self.stdin.then(|| "-i".into()));
        words.extend(self.notify.then(|| format!("--sdnotify-socket={NOTIFY_HOST}")));
        words.extend(self.options.iter().map(|word| (*word).into()));
        words
    }

    /// What the container writes, by stream; a terminal has one.
    pub fn output(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        if self.stdin {
            out.extend_from_slice(format!("got {TYPED}").as_bytes());
        }
        for number in 0..240 {
            out.extend_from_slice(format!("line {number} of the container's output\n").as_bytes());
        }
        if !self.terminal {
            for number in 0..8 {
                err.extend_from_slice(format!("complaint {number}\n").as_bytes());
            }
        }
        out.extend_from_slice(b"unended");
        (out, err)
    }

    /// The same as its readers get it.
    pub fn delivered(&self) -> (Vec<u8>, Vec<u8>) {
        let (out, err) = self.output();
        if !self.terminal {
            return (out, err);
        }
        // The terminal echoes what is typed and makes two characters of each newline.
        let echo = TYPED.as_bytes();
        let text = [echo, &out].concat();
        let mut cooked = Vec::new();
        for byte in text {
            cooked.extend((byte == b'\n').then_some(b'\r'));
            cooked.push(byte);
        }
        (cooked, err)
    }

    /// The logs of this life, oldest first.
    pub fn log_files() -> Vec<String> {
        let backups = (1..10).rev().map(|number| format!("{LOGS}/log.{number}"));
        backups.chain([format!("{LOGS}/log")]).collect()
    }
}
