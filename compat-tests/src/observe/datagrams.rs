//! The sockets a monitor may send to: the journal, syslog and the host's notify socket.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt,
};

use super::streams::contains;
use crate::sys;
use crate::text::escape;

/// A datagram socket at a path, and what came.
pub struct Inbox {
    path: &'static str,
    fd: Option<OwnedFd>,
    pub received: Vec<Message>,
    buffer: Vec<u8>,
}

/// One datagram and who sent it.
pub struct Message {
    pub pid: i32,
    pub bytes: Vec<u8>,
}

impl Inbox {
    /// Listens at `path`, replacing what is there.
    pub fn open(path: &'static str) -> nix::Result<Self> {
        let mut inbox = Self { path, fd: None, received: Vec::new(), buffer: Vec::new() };
        inbox.reopen()?;
        Ok(inbox)
    }

    pub fn reopen(&mut self) -> nix::Result<()> {
        let _ = fs::remove_file(self.path);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        // Large bursts must not depend on how fast the suite reads.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20));
        bind(fd.as_raw_fd(), &UnixAddr::new(self.path)?)?;
        let anybody = nix::sys::stat::Mode::from_bits_truncate(0o666);
        let here = nix::fcntl::AT_FDCWD;
        nix::sys::stat::fchmodat(
            here,
            self.path,
            anybody,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )?;
        self.fd = Some(fd);
        Ok(())
    }

    /// Stops listening; the path is gone.
    pub fn close(&mut self) {
        self.pump();
        self.fd = None;
        let _ = fs::remove_file(self.path);
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    pub fn pump(&mut self) {
        let Some(fd) = &self.fd else { return };
        self.buffer.resize(1 << 18, 0);
        let buffer = &mut self.buffer;
        loop {
            match sys::receive(fd.as_fd(), buffer) {
                Ok(got) => {
                    let mut bytes = buffer[..got.length.min(buffer.len())].to_vec();
                    if let Some(large) = got.fd {
                        bytes.extend(whole(large));
                    }
                    self.received.push(Message { pid: got.pid.unwrap_or(0), bytes });
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    pub fn has(&self, text: &[u8]) -> bool {
        self.received.iter().any(|message| contains(&message.bytes, text))
    }
}

/// The content of a memory file that came along.
fn whole(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    if let Ok(mut file) = fs::File::open(path) {
        let _ = file.read_to_end(&mut bytes);
    }
    bytes
}

/// The fields of a journal entry in the order of the wire; `NAME<binary>=` in the length form.
pub fn journal_fields(datagram: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if line.contains(&b'=') {
            fields.push(escape(line));
            continue;
        }
        let Some((length, data)) = rest.split_first_chunk::<8>() else {
            fields.push(format!("{}<truncated>", escape(line)));
            break;
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let value = data.get(..length).unwrap_or(data);
        fields.push(format!("{}<binary>={}", escape(line), escape(value)));
        rest = data.get(length.saturating_add(1)..).unwrap_or_default();
    }
    fields
}

/// Replaces the time of a syslog line, if it has the usual form.
pub fn without_syslog_time(text: &str) -> String {
    let Some((priority, rest)) = text.split_once('>') else { return text.to_string() };
    let (Some(stamp), Some(after)) = (rest.get(..15), rest.get(15..)) else {
        return text.to_string();
    };
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let shape: String =
        stamp.chars().skip(3).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let fits = months.contains(&stamp[..3]) && (shape == " 99 99:99:99" || shape == "  9 99:99:99");
    if fits { format!("{priority}>[TIME]{after}") } else { text.to_string() }
}

/// Whether a line of syslog says that a container has no counter of OOM kills, as it is with cgroup v2 without memory controller.
pub fn lacks_oom_counter(text: &str) -> bool {
    let said =
        ["<nwarn>: Failed to add inotify watch for /", "<nwarn>: Failed to open cgroups file: /"];
    text.contains("/memory.events") && said.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_journal_field() {
        let mut datagram = b"PRIORITY=6\nMESSAGE\n".to_vec();
        datagram.extend(3_u64.to_le_bytes());
        datagram.extend(b"a\n\n\nX=1\n");
        assert_eq!(journal_fields(&datagram), ["PRIORITY=6", "MESSAGE<binary>=a\\n\\n", "X=1"]);
    }

    #[test]
    fn only_a_well_formed_time_is_replaced() {
        assert_eq!(without_syslog_time("<14>Nov 21 22:37:47 conmon: x"), "<14>[TIME] conmon: x");
        let odd = "<14>2024-01-01T00:00:00 conmon: x";
        assert_eq!(without_syslog_time(odd), odd);
    }

    #[test]
    fn only_what_is_said_about_a_missing_counter_is_the_hosts() {
        let line =
            |text| lacks_oom_counter(&format!("<14>[TIME] conmon: conmon c0ffee {text} \\n"));
        assert!(line("<nwarn>: Failed to add inotify watch for /sys/fs/cgroup/memory.events"));
        assert!(line("<nwarn>: Failed to open cgroups file: /sys/fs/cgroup/a/b/memory.events"));
        assert!(!line("<nwarn>: Failed to open cgroups file: /sys/fs/cgroup/memory/a"));
        assert!(!line("<error>: Failed to write to /x/memory.events"));
    }
}
