//! What the kernel's log says about a process that memory ran out for.
//!
//! The last witness where a manager has removed the group before its counters could be read.
//! Readable for root, and for everybody where `kernel.dmesg_restrict` is 0.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::unistd::Pid;

/// The longest record, as the kernel documents it.
const RECORD_BYTES: usize = 8192;

/// How far the log's clock may be from ours: a little, and more the longer the machine runs.
const SLACK: Duration = Duration::from_secs(10);
const DRIFT: u32 = 10_000;

/// The link of the first pid namespace, whose numbers the kernel writes.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whether the kernel says that it killed `pid` for want of memory in its group, since the
/// (monotonic) time `since`. False, too, where it may not be asked.
pub(super) fn says_killed(pid: Pid, since: Duration) -> bool {
    let first = std::fs::read_link("/proc/self/ns/pid");
    if !first.is_ok_and(|link| link.as_os_str() == FIRST_NAMESPACE) {
        return false;
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open("/dev/kmsg").is_ok_and(|log| search(log, pid, since))
}

fn search(mut log: File, pid: Pid, since: Duration) -> bool {
    let earliest = since.saturating_sub(SLACK + since / DRIFT);
    let mut record = [0; RECORD_BYTES];
    loop {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(length) => {
                if is_kill(record.get(..length).unwrap_or_default(), pid, earliest) {
                    return true;
                }
            }
            // Overwritten while we read: the next one is the oldest that is left.
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
    }
}

/// `PRIORITY,NUMBER,MICROSECONDS,FLAGS;Memory cgroup out of memory: Killed process PID (NAME) ...`
fn is_kill(record: &[u8], pid: Pid, earliest: Duration) -> bool {
    let Some(semicolon) = record.iter().position(|byte| *byte == b';') else { return false };
    let (head, text) = record.split_at(semicolon);
    let text = text.strip_prefix(b";Memory cgroup out of memory: Killed process ");
    let is_ours = text.is_some_and(|text| text.starts_with(format!("{pid} ").as_bytes()));
    let stamp =
        head.split(|byte| *byte == b',').nth(2).and_then(|stamp| std::str::from_utf8(stamp).ok());
    is_ours
        && stamp
            .and_then(|stamp| stamp.parse().ok())
            .is_some_and(|stamp| Duration::from_micros(stamp) >= earliest)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KILL: &str =
        ";Memory cgroup out of memory: Killed process 947 (payload) total-vm:17928kB\n";

    #[rstest]
    #[case::ours(&format!("3,1234,50000000,-{KILL}"), true)]
    #[case::more_fields(&format!("3,1234,50000000,-,caller=T947{KILL}"), true)]
    #[case::before_its_life(&format!("3,1234,49999999,-{KILL}"), false)]
    #[case::another_process(
        "3,1,50000000,-;Memory cgroup out of memory: Killed process 9470 (x)",
        false
    )]
    #[case::the_machines_memory("3,1,50000000,-;Out of memory: Killed process 947 (x)", false)]
    #[case::a_line_that_quotes_it(
        "4,1,50000000,-;x Memory cgroup out of memory: Killed process 947 (x)",
        false
    )]
    #[case::no_record("", false)]
    #[case::no_stamp(&format!("3,1,{KILL}"), false)]
    fn knows_what_speaks_of_the_process(#[case] record: &str, #[case] expected: bool) {
        let pid = Pid::from_raw(947);
        assert_eq!(is_kill(record.as_bytes(), pid, Duration::from_secs(50)), expected);
    }
}
