//! Faults on demand: a library that the dynamic linker loads into a world, and that breaks one
//! thing the monitor does. With it the suite shows that it would notice.
//!
//! `/run/compat-fault` names the fault. Everything else passes through: each function here
//! stands before the C library's of the same name. Only the monitor's own program is touched.
//! It is built by the build script and used by `tests/teeth.rs` alone.

#![allow(clippy::missing_safety_doc)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::OnceLock;

const MONITOR: &str = "/run/compat/bin/conmon";
const NEXT: *mut c_void = -1_isize as *mut c_void;
const TIOCSWINSZ: c_ulong = 0x5414;
const O_CLOEXEC: c_int = 0o2_000_000;
const SIGPIPE: c_int = 13;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int;
    fn fchmod(fd: c_int, mode: c_uint) -> c_int;
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Part {
    base: *mut c_void,
    length: usize,
}

/// The name of the fault; empty where nothing is to be broken.
fn fault() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        if program.as_os_str() != MONITOR {
            return String::new();
        }
        std::fs::read_to_string("/run/compat-fault").unwrap_or_default()
    })
}

/// The function that ours stands before.
macro_rules! next {
    ($name:literal, $type:ty) => {{
        static ADDRESS: OnceLock<usize> = OnceLock::new();
        // SAFETY: the name is a C string.
        let address = *ADDRESS.get_or_init(|| unsafe { dlsym(NEXT, $name.as_ptr()) } as usize);
        // SAFETY: the C library's function of this name has this type.
        unsafe { std::mem::transmute::<usize, $type>(address) }
    }};
}

type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;

fn real_write(fd: c_int, bytes: &[u8]) -> isize {
    let write = next!(c"write", Write);
    // SAFETY: the slice is readable for its length.
    unsafe { write(fd, bytes.as_ptr().cast(), bytes.len()) }
}

fn path_of(fd: c_int) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    link.to_string_lossy().into_owned()
}

fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: the monitor passes C strings here.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or_default()
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    text.replace(from, to).into_bytes()
}

/// What becomes of log lines: other bytes, or none.
fn log_lines(bytes: &[u8]) -> Option<Vec<u8>> {
    let holds = |part: &str| String::from_utf8_lossy(bytes).contains(part);
    Some(match fault() {
        "partial-tag" => replace(bytes, " stdout F ", " stdout P "),
        "stream-name" => replace(bytes, " stderr F ", " stdout F "),
        "lost-line" if holds("hello") => return None,
        "doubled-line" => [bytes, bytes].concat(),
        "missing-newline" => bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec(),
        "wrong-zone" => replace(bytes, "+00:00 std", "+01:00 std"),
        "short-fraction" => replace(bytes, "+00:00 std", "0+00:00 std"),
        "time-goes-back" if holds("problem") => replace(bytes, "20", "19"),
        _ => bytes.to_vec(),
    })
}

/// What becomes of any other write.
fn other_bytes(fd: c_int, bytes: &[u8]) -> Option<Vec<u8>> {
    let to_caller = bytes.starts_with(b"{\"");
    let to_client = matches!(bytes.first(), Some(2 | 3)) && bytes.len() > 1;
    Some(match fault() {
        "sync-key" if to_caller => replace(bytes, "\"data\"", "\"pid\""),
        "sync-newline" if to_caller => bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec(),
        "sync-lost" if to_caller => return None,
        "attach-stream" if to_client && bytes[0] == 2 => [&[3], &bytes[1..]].concat(),
        "attach-lost" if to_client => return None,
        "attach-untyped" if to_client => bytes[1..].to_vec(),
        "exit-code" if path_of(fd).contains("/exits/") => b"77".to_vec(),
        "exit-newline" if path_of(fd).contains("/exits/") => [bytes, b"\n"].concat(),
        _ => bytes.to_vec(),
    })
}

fn report(changed: Option<Vec<u8>>, fd: c_int, asked: usize) -> isize {
    let asked = isize::try_from(asked).unwrap_or(isize::MAX);
    match changed {
        None => asked,
        Some(bytes) if real_write(fd, &bytes) >= 0 => asked,
        Some(_) => -1,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, length: usize) -> isize {
    // SAFETY: the caller's buffer is readable for its length.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
    if fault().is_empty() {
        return real_write(fd, bytes);
    }
    match other_bytes(fd, bytes) {
        Some(same) if same == bytes => real_write(fd, bytes),
        changed => report(changed, fd, length),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const Part, count: c_int) -> isize {
    let real = next!(c"writev", unsafe extern "C" fn(c_int, *const Part, c_int) -> isize);
    // SAFETY: the caller's parts are readable.
    let list = unsafe { std::slice::from_raw_parts(parts, usize::try_from(count).unwrap_or(0)) };
    let whole: Vec<u8> = list
        .iter()
        // SAFETY: each part is readable for its length.
        .flat_map(|part| unsafe { std::slice::from_raw_parts(part.base.cast::<u8>(), part.length) })
        .copied()
        .collect();
    let changed = if path_of(fd).ends_with(".log") { log_lines(&whole) } else { other_bytes(fd, &whole) };
    if changed.as_deref() == Some(&whole) {
        // SAFETY: nothing was changed.
        return unsafe { real(fd, parts, count) };
    }
    report(changed, fd, whole.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = next!(c"rename", unsafe extern "C" fn(*const c_char, *const c_char) -> c_int);
    let target = text(to);
    match fault() {
        "exit-not-atomic" if target.contains("/exits/") => {
            let content = std::fs::read(text(from)).unwrap_or_default();
            let _ = std::fs::remove_file(text(from));
            std::fs::write(target, content).map_or(-1, |()| 0)
        }
        "exit-file-missing" if target.contains("/exits/") => {
            std::fs::remove_file(text(from)).map_or(-1, |()| 0)
        }
        "persist-exit-missing" if target.contains("/persist/") => {
            std::fs::remove_file(text(from)).map_or(-1, |()| 0)
        }
        "pidfile-missing" if target.ends_with("conmon.pid") => {
            std::fs::remove_file(text(from)).map_or(-1, |()| 0)
        }
        // SAFETY: the caller's own arguments.
        _ => unsafe { real(from, to) },
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let real = next!(c"unlink", unsafe extern "C" fn(*const c_char) -> c_int);
    if fault() == "attach-left" && text(path).ends_with("/attach") && !text(path).contains("/fd/") {
        return 0;
    }
    // SAFETY: the caller's own argument.
    unsafe { real(path) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn chmod(path: *const c_char, mode: c_uint) -> c_int {
    let real = next!(c"chmod", unsafe extern "C" fn(*const c_char, c_uint) -> c_int);
    let open_to_all = fault() == "attach-mode" && text(path).ends_with("/attach");
    // SAFETY: the caller's own path.
    unsafe { real(path, if open_to_all { 0o777 } else { mode }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkfifo(path: *const c_char, mode: c_uint) -> c_int {
    let real = next!(c"mkfifo", unsafe extern "C" fn(*const c_char, c_uint) -> c_int);
    // SAFETY: the caller's own path.
    unsafe { real(path, if fault() == "fifo-mode" { 0o600 } else { mode }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let real = next!(c"open", unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int);
    let leak = fault() == "leaked-descriptor" && text(path) == "/dev/null";
    if fault() == "oom-missing" && text(path).ends_with("oom") {
        return -1;
    }
    // SAFETY: the caller's own path; a mode that is not asked for is ignored.
    let fd = unsafe { real(path, if leak { flags & !O_CLOEXEC } else { flags }, mode) };
    if fault() == "log-mode" && text(path).ends_with(".log") {
        // SAFETY: the descriptor was opened just now.
        unsafe { fchmod(fd, 0o666) };
    }
    fd
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn kill(pid: c_int, signal: c_int) -> c_int {
    let real = next!(c"kill", unsafe extern "C" fn(c_int, c_int) -> c_int);
    if fault() == "signal-swallowed" && signal == 15 {
        return 0;
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(pid, signal) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal(number: c_int, handler: usize) -> usize {
    let real = next!(c"signal", unsafe extern "C" fn(c_int, usize) -> usize);
    if fault() == "sigpipe-kept" && number == SIGPIPE {
        return 0;
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(number, handler) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsid() -> c_int {
    let real = next!(c"setsid", unsafe extern "C" fn() -> c_int);
    // SAFETY: it takes nothing.
    if fault() == "no-session" { -1 } else { unsafe { real() } }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    let real = next!(c"dup2", unsafe extern "C" fn(c_int, c_int) -> c_int);
    if fault() == "stderr-kept" && to == 2 && path_of(from) == "/dev/null" {
        return to;
    }
    // SAFETY: the caller's own descriptors.
    unsafe { real(from, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let real = next!(c"ioctl", unsafe extern "C" fn(c_int, c_ulong, ...) -> c_int);
    if fault() == "winsize-swapped" && request == TIOCSWINSZ {
        // SAFETY: this request takes four unsigned shorts, rows first.
        let size = unsafe { argument.cast::<[u16; 4]>().read() };
        let mut swapped = [size[1], size[0], size[2], size[3]];
        // SAFETY: as above.
        return unsafe { real(fd, request, &raw mut swapped) };
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(fd, request, argument) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn symlink(target: *const c_char, path: *const c_char) -> c_int {
    let real = next!(c"symlink", unsafe extern "C" fn(*const c_char, *const c_char) -> c_int);
    let wrong = c"/run/compat/./bundle";
    let target = if fault() == "socket-link" { wrong.as_ptr() } else { target };
    // SAFETY: both are C strings.
    unsafe { real(target, path) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    data: *const c_void,
    length: usize,
    flags: c_int,
    address: *const c_void,
    address_length: c_uint,
) -> isize {
    type SendTo =
        unsafe extern "C" fn(c_int, *const c_void, usize, c_int, *const c_void, c_uint) -> isize;
    let real = next!(c"sendto", SendTo);
    if fault() == "notify-changed" {
        let other = b"READY=0";
        // SAFETY: the caller's own address, our own bytes.
        unsafe { real(fd, other.as_ptr().cast(), other.len(), flags, address, address_length) };
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(fd, data, length, flags, address, address_length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: *const c_char, argv: *const *const c_char) -> c_int {
    let real = next!(c"execv", unsafe extern "C" fn(*const c_char, *const *const c_char) -> c_int);
    let exit_command = text(path).ends_with("exit-recorder");
    if fault() == "runtime-environment" && !exit_command {
        // SAFETY: both are C strings.
        unsafe { setenv(c"FAULT".as_ptr(), c"1".as_ptr(), 1) };
    }
    if fault() == "exit-command-argument" && exit_command {
        let mut words: Vec<*const c_char> = Vec::new();
        // SAFETY: the list ends with a null pointer.
        while let Some(word) = Some(unsafe { *argv.add(words.len()) }).filter(|w| !w.is_null()) {
            words.push(word);
        }
        let extra = CString::from(c"--exit");
        words.extend([extra.as_ptr(), c"3".as_ptr(), std::ptr::null()]);
        // SAFETY: the words live until the call has failed or replaced this program.
        return unsafe { real(path, words.as_ptr()) };
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(path, argv) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sd_journal_sendv_with_location(
    file: *const c_char,
    line: *const c_char,
    function: *const c_char,
    fields: *const Part,
    count: c_int,
) -> c_int {
    type Send =
        unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, *const Part, c_int) -> c_int;
    let real = next!(c"sd_journal_sendv_with_location", Send);
    // SAFETY: the caller's fields are readable.
    let list = unsafe { std::slice::from_raw_parts(fields, usize::try_from(count).unwrap_or(0)) };
    let mut list = list.to_vec();
    match fault() {
        "journal-order" if list.len() > 2 => list.swap(1, 2),
        "journal-field-lost" => list.retain(|field| {
            // SAFETY: each field is readable for its length.
            let bytes = unsafe { std::slice::from_raw_parts(field.base.cast::<u8>(), field.length) };
            !bytes.starts_with(b"CONTAINER_PARTIAL")
        }),
        _ => {}
    }
    let count = c_int::try_from(list.len()).unwrap_or(0);
    // SAFETY: the caller's own texts and fields.
    unsafe { real(file, line, function, list.as_ptr(), count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let real = next!(c"fsync", unsafe extern "C" fn(c_int) -> c_int);
    if fault() == "dies-at-the-end" && path_of(fd).ends_with(".log") {
        std::process::abort();
    }
    // SAFETY: the caller's own descriptor.
    unsafe { real(fd) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getpgid(pid: c_int) -> c_int {
    let real = next!(c"getpgid", unsafe extern "C" fn(c_int) -> c_int);
    // SAFETY: it takes a number.
    if fault() == "kills-nobody" { c_int::MAX } else { unsafe { real(pid) } }
}

