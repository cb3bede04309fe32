//! What is told to the caller on the sync pipe and on the attach pipe: one JSON object a
//! report, ended by a newline.

#[cfg(test)]
mod properties;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::unistd::write;

use crate::config::Api;
use crate::failure::Failure;
use crate::sys;

/// The most bytes in one packet. Podman reads packets of at most 4096 bytes into a buffer
/// whose free tail may be as small as this.
const PACKET_BYTES: usize = 1024;

/// How long a caller may leave the pipe full before a report is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which word stands for the value of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Data,
    ExitCode,
    Pid,
}

impl Key {
    /// The word for the API level and kind of session.
    pub(crate) fn of(api: Api, exec: bool) -> Self {
        match (api, exec) {
            (Api::V1, _) => Self::Data,
            (Api::Legacy, true) => Self::ExitCode,
            (Api::Legacy, false) => Self::Pid,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::ExitCode => "exit_code",
            Self::Pid => "pid",
        }
    }
}

/// The pipe to the caller; forgotten once the caller has closed its end.
pub(crate) struct SyncPipe {
    fd: Option<OwnedFd>,
    key: Key,
}

impl SyncPipe {
    pub(crate) fn new(fd: Option<OwnedFd>, key: Key) -> Self {
        Self { fd, key }
    }

    /// Tells the caller `value` and, unless it is empty, `message`.
    ///
    /// # Errors
    ///
    /// The pipe is broken in another way than the caller having closed it.
    pub(crate) fn report(&mut self, value: i32, message: &[u8]) -> Result<(), Failure> {
        let Some(fd) = &self.fd else { return Ok(()) };
        match send(fd.as_fd(), &render(self.key.word(), value, message)) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE) => {
                self.fd = None;
                Ok(())
            }
            Err(errno) => {
                self.fd = None;
                Err(Failure::with_errno("Unable to send container stderr message to parent", errno))
            }
        }
    }
}

pub(crate) fn render(key: &str, value: i32, message: &[u8]) -> Vec<u8> {
    let mut json = format!("{{\"{key}\": {value}").into_bytes();
    // A message is a C string to its readers.
    let message = message.split(|byte| *byte == 0).next().unwrap_or_default();
    if !message.is_empty() {
        json.extend_from_slice(b", \"message\": \"");
        message.iter().for_each(|byte| escape(*byte, &mut json));
        json.push(b'"');
    }
    json.extend_from_slice(b"}\n");
    json
}

/// Appends one byte of a JSON string.
///
/// Not serde_json: its text must be UTF-8, while a runtime's words pass through as they are,
/// and it escapes fewer characters than callers have come to see.
fn escape(byte: u8, json: &mut Vec<u8>) {
    let short = match byte {
        b'\\' => b'\\',
        b'"' => b'"',
        b'/' => b'/',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0x00..0x20 | 0x7f => {
            return json.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        }
        _ => return json.push(byte),
    };
    json.extend_from_slice(&[b'\\', short]);
}

/// Writes the whole of `report` in packets the readers can hold, waiting a bounded time for
/// a full pipe.
///
/// The descriptor's own blocking mode is the caller's and stays as it is: a packet is
/// smaller than PIPE_BUF, so a pipe that polls writable takes it whole.
///
/// A descriptor that is open for reading only would never poll writable; it fails at once.
fn send(fd: BorrowedFd<'_>, report: &[u8]) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        return Err(Errno::EBADF);
    }
    for packet in report.chunks(PACKET_BYTES) {
        let mut rest = packet;
        while !rest.is_empty() {
            if !sys::poll::wait_for(fd, PollFlags::POLLOUT, PATIENCE) {
                return Err(Errno::ETIMEDOUT);
            }
            match write(fd, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR | Errno::EAGAIN | Errno::ENOBUFS) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(Key::Pid, 12, b"", "{\"pid\": 12}\n")]
    #[case::failure(Key::Data, -1, b"no", "{\"data\": -1, \"message\": \"no\"}\n")]
    #[case::legacy_exec(Key::ExitCode, 3, b"", "{\"exit_code\": 3}\n")]
    #[case::ends_at_nul(Key::Pid, -1, b"a\0b", "{\"pid\": -1, \"message\": \"a\"}\n")]
    #[case::nothing_before_nul(Key::Pid, -1, b"\0b", "{\"pid\": -1}\n")]
    #[case::escapes(
        Key::Pid, -1, b"\\\"/\n\r\t\x08\x0c\x01\x1f\x7f",
        "{\"pid\": -1, \"message\": \"\\\\\\\"\\/\\n\\r\\t\\b\\f\\u0001\\u001f\\u007f\"}\n"
    )]
    fn renders_what_callers_parse(
        #[case] key: Key,
        #[case] value: i32,
        #[case] message: &[u8],
        #[case] expected: &str,
    ) {
        assert_eq!(render(key.word(), value, message), expected.as_bytes());
    }

    #[test]
    fn bytes_beyond_ascii_pass_through() {
        assert_eq!(
            render("pid", -1, b"\xff\xc3\xa4"),
            b"{\"pid\": -1, \"message\": \"\xff\xc3\xa4\"}\n"
        );
    }

    #[test]
    fn no_packet_is_larger_than_podmans_buffer_tail() {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .unwrap();
        let mut pipe = SyncPipe::new(Some(ours), Key::Data);
        pipe.report(-1, &[b'x'; 8191]).unwrap();
        drop(pipe);
        let mut reader = std::fs::File::from(theirs);
        let mut whole = Vec::new();
        loop {
            let mut packet = [0; 4096];
            match reader.read(&mut packet).unwrap() {
                0 => break,
                length => {
                    assert!(length <= PACKET_BYTES);
                    whole.extend_from_slice(&packet[..length]);
                }
            }
        }
        assert!(whole.ends_with(b"xx\"}\n"));
    }

    #[test]
    fn a_caller_that_left_is_no_failure() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        sys::process::ignore_sigpipe().unwrap();
        let mut pipe = SyncPipe::new(Some(writer), Key::Pid);
        assert_eq!(pipe.report(1, b""), Ok(()));
        assert!(pipe.fd.is_none());
    }

    #[test]
    fn a_descriptor_open_for_reading_fails_at_once() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let started = std::time::Instant::now();
        let mut pipe = SyncPipe::new(Some(reader), Key::Pid);
        assert_eq!(pipe.report(1, b"").unwrap_err().errno(), Some(Errno::EBADF));
        assert!(started.elapsed() < PATIENCE / 2);
    }
}
