//! Signals, ends, and the programs that are called.
//!
//! `exec` (content: the program's path): `swap=A,B`, `lose=WORD`, `insert=WORD` before the last one,
//! `set=K=V`, `unset=K`, `umask=`, `ignore=SIGNAL`, `chdir=DIR`. `kill` and `wait` (content: the number
//! of the signal or status): `as=N`, `drop`; `killpg`: `alone` (the leader only). `umask`, `setsid`, `dup2` (path: what is duplicated,
//! content: the new number), `prctl` (content: the number), `winsize`, `tcsetattr`, `sleep` (`as=N` seconds).

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

use crate::rule::{self, Rule};
use crate::{c_string, next, path_of, text};

const TIOCSWINSZ: c_ulong = 0x5414;
const PIDFD_SEND_SIGNAL: c_long = 424;

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
    fn chdir(path: *const c_char) -> c_int;
}

fn other(rule: &Rule, number: c_int) -> c_int {
    rule.number("as").and_then(|n| c_int::try_from(n).ok()).unwrap_or(number)
}

fn of_number(hook: &str, number: c_int) -> Option<&'static Rule> {
    if rule::all().is_empty() { None } else { rule::find(hook, "", number.to_string().as_bytes()) }
}

unsafe fn list(words: *const *const c_char) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    // SAFETY: the list ends with a null pointer.
    while let Some(word) = Some(unsafe { *words.add(out.len()) }).filter(|w| !w.is_null()) {
        out.push(text(word).as_bytes().to_vec());
    }
    out
}

fn change_words(rule: &Rule, words: &mut Vec<Vec<u8>>) {
    let at = |words: &[Vec<u8>], word: &str| words.iter().position(|w| w == word.as_bytes());
    if let Some((a, b)) = rule.word("swap").and_then(|pair| pair.split_once(',')) {
        if let (Some(a), Some(b)) = (at(words, a), at(words, b)) {
            words.swap(a, b);
        }
    }
    if let Some(lost) = rule.word("lose").and_then(|word| at(words, word)) {
        words.remove(lost);
    }
    if let Some(word) = rule.value("insert") {
        words.insert(words.len().saturating_sub(1), word.to_vec());
    }
    for word in words.iter_mut() {
        *word = rule.change(word);
    }
}

fn change_environment(rule: &Rule, environment: &mut Vec<Vec<u8>>) {
    if let Some(name) = rule.word("unset") {
        environment.retain(|line| !line.starts_with(format!("{name}=").as_bytes()));
    }
    if let Some(line) = rule.value("set") {
        environment.push(line.to_vec());
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execve(
    path: *const c_char,
    argv: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    type ExecVe =
        unsafe extern "C" fn(*const c_char, *const *const c_char, *const *const c_char) -> c_int;
    let real = next!(c"execve", ExecVe);
    let rule = if rule::all().is_empty() { None } else { rule::find("exec", text(path), b"") };
    let Some(rule) = rule else {
        // SAFETY: the caller's own arguments.
        return unsafe { real(path, argv, environment) };
    };
    // SAFETY: both lists end with null pointers.
    let (mut words, mut lines) = unsafe { (list(argv), list(environment)) };
    change_words(rule, &mut words);
    change_environment(rule, &mut lines);
    let number = |key| rule.number(key);
    if let Some(mask) = number("umask") {
        // SAFETY: a mere number.
        unsafe { next!(c"umask", Umask)(c_uint::try_from(mask).unwrap_or(0)) };
    }
    if let Some(ignored) = number("ignore") {
        // SAFETY: 1 is SIG_IGN.
        unsafe { signal(c_int::try_from(ignored).unwrap_or(0), 1) };
    }
    if let Some(directory) = rule.value("chdir").map(c_string) {
        // SAFETY: a C string.
        unsafe { chdir(directory.as_ptr()) };
    }
    if let Some(milliseconds) = number("delay") {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds as u64));
    }
    let (words, lines) = (strings(&words), strings(&lines));
    // SAFETY: both lists live until the call has failed or replaced this program.
    unsafe { real(path, pointers(&words).as_ptr(), pointers(&lines).as_ptr()) }
}

fn strings(words: &[Vec<u8>]) -> Vec<std::ffi::CString> {
    words.iter().map(|word| c_string(word)).collect()
}

fn pointers(words: &[std::ffi::CString]) -> Vec<*const c_char> {
    words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: *const c_char, argv: *const *const c_char) -> c_int {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the caller's own arguments, and the process's environment.
    unsafe { execve(path, argv, environ) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn kill(pid: c_int, number: c_int) -> c_int {
    type Kill = unsafe extern "C" fn(c_int, c_int) -> c_int;
    let real = next!(c"kill", Kill);
    let Some(rule) = of_number("kill", number) else {
        // SAFETY: the caller's own arguments.
        return unsafe { real(pid, number) };
    };
    if rule.has("drop") {
        return 0;
    }
    // SAFETY: as above.
    unsafe { real(if rule.has("group") { -pid } else { pid }, other(rule, number)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn killpg(group: c_int, number: c_int) -> c_int {
    type KillPg = unsafe extern "C" fn(c_int, c_int) -> c_int;
    match of_number("killpg", number) {
        // SAFETY: the leader instead of its group.
        Some(rule) if rule.has("alone") => unsafe { kill(group, number) },
        Some(_) => 0,
        // SAFETY: the caller's own arguments.
        None => unsafe { next!(c"killpg", KillPg)(group, number) },
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    call: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    type Syscall =
        unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    let mut number = b;
    if call == PIDFD_SEND_SIGNAL {
        if let Some(rule) = of_number("kill", c_int::try_from(b).unwrap_or(0)) {
            if rule.has("drop") {
                return 0;
            }
            number = c_long::from(other(rule, c_int::try_from(b).unwrap_or(0)));
        }
    }
    // SAFETY: the caller's own arguments; what is not used is not looked at.
    unsafe { next!(c"syscall", Syscall)(call, a, number, c, d, e, f) }
}

/// The part of `siginfo_t` that tells of a child.
#[repr(C)]
pub struct Child {
    signal: c_int,
    errno: c_int,
    code: c_int,
    pad: c_int,
    pid: c_int,
    user: c_uint,
    status: c_int,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn waitid(kind: c_uint, id: c_uint, info: *mut Child, options: c_int) -> c_int {
    type WaitId = unsafe extern "C" fn(c_uint, c_uint, *mut Child, c_int) -> c_int;
    // SAFETY: the caller's own arguments.
    let result = unsafe { next!(c"waitid", WaitId)(kind, id, info, options) };
    // SAFETY: the call has filled it in.
    if result == 0 && !info.is_null() && unsafe { (*info).pid } != 0 {
        // SAFETY: as above.
        let child = unsafe { &mut *info };
        if let Some(rule) = of_number("wait", child.status) {
            child.status = other(rule, child.status);
        }
    }
    result
}

/// As for `waitid`, with the status as this call packs it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int {
    type WaitPid = unsafe extern "C" fn(c_int, *mut c_int, c_int) -> c_int;
    // SAFETY: the caller's own arguments.
    let ended = unsafe { next!(c"waitpid", WaitPid)(pid, status, options) };
    if ended > 0 && !status.is_null() {
        // SAFETY: the call has filled it in.
        let packed = unsafe { &mut *status };
        let (shift, mask) = if *packed & 0x7f == 0 { (8, 0xff) } else { (0, 0x7f) };
        let number = *packed >> shift & mask;
        if let Some(rule) = of_number("wait", number) {
            *packed = *packed & !(mask << shift) | other(rule, number) << shift;
        }
    }
    ended
}

type Umask = unsafe extern "C" fn(c_uint) -> c_uint;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn umask(mask: c_uint) -> c_uint {
    let rule = if rule::all().is_empty() { None } else { rule::find("umask", "", b"") };
    let mask = rule.and_then(|rule| rule.number("as")).and_then(|m| m.try_into().ok()).unwrap_or(mask);
    // SAFETY: a mere number.
    unsafe { next!(c"umask", Umask)(mask) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsid() -> c_int {
    if !rule::all().is_empty() && rule::find("setsid", "", b"").is_some() {
        return 1;
    }
    // SAFETY: it takes nothing.
    unsafe { next!(c"setsid", unsafe extern "C" fn() -> c_int)() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    if !rule::all().is_empty() {
        if rule::find("dup2", &path_of(from), to.to_string().as_bytes()).is_some() {
            return to;
        }
    }
    type Dup2 = unsafe extern "C" fn(c_int, c_int) -> c_int;
    // SAFETY: the caller's own descriptors.
    unsafe { next!(c"dup2", Dup2)(from, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(what: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    if of_number("prctl", what).is_some() {
        return 0;
    }
    type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
    // SAFETY: the caller's own arguments.
    unsafe { next!(c"prctl", Prctl)(what, a, b, c, d) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    type Ioctl = unsafe extern "C" fn(c_int, c_ulong, ...) -> c_int;
    let real = next!(c"ioctl", Ioctl);
    if request == TIOCSWINSZ && !rule::all().is_empty() {
        // SAFETY: this request takes four unsigned shorts, rows first.
        let mut size = unsafe { argument.cast::<[u16; 4]>().read() };
        let shown = format!("{}x{}", size[0], size[1]);
        if let Some(rule) = rule::find("winsize", "", shown.as_bytes()) {
            if rule.has("drop") {
                return 0;
            }
            for (index, key) in ["rows", "columns", "x", "y"].iter().enumerate() {
                if let Some(value) = rule.number(key) {
                    size[index] = u16::try_from(value).unwrap_or(0);
                }
            }
            // SAFETY: as above.
            return unsafe { real(fd, request, &raw mut size) };
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { real(fd, request, argument) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcsetattr(fd: c_int, when: c_int, settings: *const c_void) -> c_int {
    if !rule::all().is_empty() && rule::find("tcsetattr", "", b"").is_some() {
        return 0;
    }
    type TcSetAttr = unsafe extern "C" fn(c_int, c_int, *const c_void) -> c_int;
    // SAFETY: the caller's own arguments.
    unsafe { next!(c"tcsetattr", TcSetAttr)(fd, when, settings) }
}
