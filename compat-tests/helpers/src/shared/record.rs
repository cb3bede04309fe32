//! What one program call looked like from inside, as a JSON file.
//!
//! Part of the recorders. They start without the standard library's prologue, because that
//! changes what is recorded here: it ignores SIGPIPE and opens closed descriptors.

use crate::fd_facts::{self, FdFact};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Map, Value, json};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Gathers the facts about this process.
pub fn observe() -> Value {
    let mut record = Map::new();
    record.insert("argv".into(), std::env::args_os().map(|word| text(&word)).collect());
    let variable =
        |(name, value): (OsString, OsString)| format!("{}={}", text(&name), text(&value));
    record.insert("env".into(), std::env::vars_os().map(variable).collect());
    let cwd = std::env::current_dir().map(|path| text(path.as_os_str())).unwrap_or_default();
    record.insert("cwd".into(), cwd.into());
    let fds = fd_facts::open_fds().unwrap_or_default();
    record.insert("stdio".into(), (0..=2).map(|fd| stdio(&fds, fd)).collect());
    record.insert("fds".into(), fds.iter().filter(|fd| fd.fd > 2).map(fd_value).collect());
    add_status(&mut record);
    record.insert("oom_score_adj".into(), number_in("/proc/self/oom_score_adj"));
    record.insert("pdeathsig".into(), parent_death_signal());
    record.insert("monotonic_ns".into(), monotonic_ns());
    Value::Object(record)
}

/// Text as it is; bytes that are not UTF-8 as `\xNN`.
pub fn text(word: &OsStr) -> String {
    let escape = |bytes: &[u8]| bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>();
    word.as_bytes()
        .utf8_chunks()
        .fold(String::new(), |all, chunk| all + chunk.valid() + &escape(chunk.invalid()))
}

fn stdio(fds: &[FdFact], number: i32) -> Value {
    match fds.iter().find(|fd| fd.fd == number) {
        Some(fd) => fd_value(fd),
        None => json!({ "fd": number, "kind": "closed" }),
    }
}

fn fd_value(fd: &FdFact) -> Value {
    json!({
        "fd": fd.fd,
        "kind": fd.kind,
        "mode": fd.mode,
        "access": fd.access,
        "nonblocking": fd.nonblocking,
        "close_on_exec": fd.close_on_exec,
        "target": fd.target,
    })
}

/// The lines of `/proc/self/status` and `/proc/self/stat` that a parent can determine.
fn add_status(record: &mut Map<String, Value>) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (line, key) in
        [("SigBlk", "sig_blocked"), ("SigIgn", "sig_ignored"), ("Umask", "umask"), ("Name", "comm")]
    {
        let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
        record.insert(key.into(), value.unwrap_or_default().trim().into());
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<i64> = after_name.split(' ').filter_map(|f| f.parse().ok()).collect();
    record.insert("pid".into(), std::process::id().into());
    for (key, value) in ["ppid", "pgid", "sid"].into_iter().zip(fields) {
        record.insert(key.into(), value.into());
    }
}

fn number_in(path: &str) -> Value {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i64>().ok()).into()
}

fn parent_death_signal() -> Value {
    let mut signal: libc::c_int = 0;
    // SAFETY: PR_GET_PDEATHSIG stores one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal.into()
}

fn monotonic_ns() -> Value {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.ok().map(|now| now.tv_sec() * 1_000_000_000 + now.tv_nsec()).into()
}

/// Writes `record` as `DIRECTORY/SEQ-PID.json`; it appears whole or not at all.
pub fn write(directory: &Path, record: &Value) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let locked = Flock::lock(File::open(directory)?, FlockArg::LockExclusive);
    let _lock = locked.map_err(|(_, errno)| io::Error::from(errno))?;
    let highest = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.split('-').next()?.parse().ok())
        .max()
        .unwrap_or(0_u32);
    let name = format!("{:03}-{}.json", highest + 1, std::process::id());
    let temporary = directory.join(format!(".{name}"));
    let mut bytes = serde_json::to_vec_pretty(record)?;
    bytes.push(b'\n');
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, directory.join(name))
}
