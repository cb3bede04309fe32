//! The monitor's own messages, to stderr and to syslog; never the container's output.
//!
//! A message that cannot be delivered is dropped: reporting must never stop the monitor.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};

use crate::failure::{Failure, Text};
use crate::sys;

/// How much the monitor says; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// Where the monitor's own messages go.
pub(crate) struct Diagnostics {
    level: Cell<Level>,
    to_stderr: Cell<bool>,
    syslog: Option<Syslog>,
}

impl Diagnostics {
    /// Messages go to stderr, and to `syslog` if there is one.
    pub(crate) fn new(level: Level, syslog: Option<Syslog>) -> Self {
        Self { level: Cell::new(level), to_stderr: Cell::new(true), syslog }
    }

    /// Stops writing to stderr, which from now on belongs to nobody (/dev/null).
    pub(crate) fn leave_stderr(&self) {
        self.to_stderr.set(false);
    }

    /// Closes the connection to the system log until there is something to say.
    pub(crate) fn disconnect(&self) {
        if let Some(syslog) = &self.syslog {
            syslog.socket.set(None);
        }
    }

    /// Whether a message of `level` would go anywhere; spares building costly ones.
    pub(crate) fn enabled(&self, level: Level) -> bool {
        level <= self.level.get()
    }

    /// Says why the monitor refuses or gives up. Errors pass every level.
    pub(crate) fn failure(&self, failure: &Failure) {
        let joint = joint(failure.text());
        self.emit(Level::Error, "error", failure.text().bytes(), failure.errno(), joint);
    }

    pub(crate) fn warn(&self, text: impl AsRef<[u8]>) {
        self.emit(Level::Warning, "nwarn", text.as_ref(), None, "");
    }

    /// Warns of a failed system call; `text` names the operation and the object.
    pub(crate) fn warn_errno(&self, text: impl Into<Text>, errno: Errno) {
        let text = text.into();
        let label = match text {
            Text::Constant(_) => "pwarn",
            Text::Made(_) => "pwarnf",
        };
        self.emit(Level::Warning, label, text.bytes(), Some(errno), joint(&text));
    }

    pub(crate) fn info(&self, text: impl AsRef<[u8]>) {
        self.emit(Level::Info, "ninfo", text.as_ref(), None, "");
    }

    pub(crate) fn debug(&self, text: impl AsRef<[u8]>) {
        self.emit(Level::Debug, "ndebug", text.as_ref(), None, "");
    }

    pub(crate) fn trace(&self, text: impl AsRef<[u8]>) {
        self.emit(Level::Trace, "ntrace", text.as_ref(), None, "");
    }

    fn emit(&self, level: Level, label: &str, text: &[u8], errno: Option<Errno>, joint: &str) {
        if !self.enabled(level) {
            return;
        }
        let reason = errno.map(sys::errno::describe).unwrap_or_default();
        if self.to_stderr.get() {
            let prefix: &[u8] = match level {
                Level::Error => b"[conmon:e]: ",
                Level::Warning => b"[conmon:w]: ",
                Level::Info => b"[conmon:i]: ",
                Level::Debug | Level::Trace => b"[conmon:d]: ",
            };
            let gap: &[u8] = if errno.is_some() { b" " } else { b"" };
            write_stderr(&[prefix, text, gap, reason.as_bytes(), b"\n"].concat());
        }
        if let Some(syslog) = &self.syslog {
            let gap = if errno.is_some() { joint } else { "" };
            syslog.send(level, label, &[text, gap.as_bytes(), reason.as_bytes()].concat());
        }
    }
}

/// What stands between a text and the system's reason in the system log.
fn joint(text: &Text) -> &'static str {
    match text {
        Text::Constant(_) => " ",
        Text::Made(_) => ": ",
    }
}

/// Writes `bytes` to stderr; a failure to do so has nowhere to be reported.
pub(crate) fn write_stderr(bytes: &[u8]) {
    let _ = sys::fd::write_all(std::io::stderr(), bytes);
}

/// The system log's socket, spoken to the way syslog(3) does without openlog(3).
pub(crate) struct Syslog {
    /// Program name, as the C library takes it from argv\[0\].
    ident: Vec<u8>,
    /// `CID` or `CID: TAG`, at most 20 bytes.
    log_id: Vec<u8>,
    socket: Cell<Option<OwnedFd>>,
}

const LOG_ID_BYTES: usize = 20;

impl Syslog {
    /// Messages will name `ident` (the program) and the container; the log's socket is
    /// connected at the first message.
    pub(crate) fn new(ident: &[u8], cid: &[u8], tag: Option<&[u8]>) -> Self {
        let mut log_id = cid.to_vec();
        if let Some(tag) = tag {
            log_id.extend_from_slice(b": ");
            log_id.extend_from_slice(tag);
        }
        log_id.truncate(LOG_ID_BYTES);
        Self { ident: ident.to_vec(), log_id, socket: Cell::new(None) }
    }

    fn send(&self, level: Level, label: &str, text: &[u8]) {
        let priority = if level == Level::Error { "<11>" } else { "<14>" };
        let seconds = sys::time::realtime().as_secs();
        let stamp = sys::time::local_time(seconds).map(|t| stamp(&t)).unwrap_or_default();
        let label = format!(" <{label}>: ");
        let datagram = [
            priority.as_bytes(),
            stamp.as_bytes(),
            &self.ident,
            b": conmon ",
            &self.log_id,
            label.as_bytes(),
            text,
            b"\n",
        ]
        .concat();
        let Some(log) = self.socket.take().or_else(open_dev_log) else { return };
        if send(&log, &datagram) {
            self.socket.set(Some(log));
        } else if let Some(log) = open_dev_log() {
            // The logging daemon was restarted: its old socket is gone.
            send(&log, &datagram);
            self.socket.set(Some(log));
        }

        fn send(log: &OwnedFd, datagram: &[u8]) -> bool {
            use std::os::fd::AsRawFd;
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            self::send(log.as_raw_fd(), datagram, flags).is_ok()
        }
    }
}

/// `Nov  1 22:37:47 `, as syslog(3) writes it.
fn stamp(t: &libc::tm) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = usize::try_from(t.tm_mon).ok().and_then(|m| MONTHS.get(m)).unwrap_or(&"Jan");
    format!("{month} {:>2} {:02}:{:02}:{:02} ", t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec)
}

fn open_dev_log() -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;
    let log = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    connect(log.as_raw_fd(), &UnixAddr::new("/dev/log").ok()?).ok()?;
    Some(log)
}
