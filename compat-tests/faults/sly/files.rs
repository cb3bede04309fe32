//! Names and modes. `bind` gives a socket's name a mode after it was made. Other actions: `mode=`, `drop` (says it was done), `fail=ERRNO`, `without=FLAGS` and
//! `with=FLAGS` of an open, `target=` of a link, `copy` of a renaming that is none.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::os::unix::fs::PermissionsExt;

use crate::rule::{self, Rule};
use crate::{c_string, next, path_of, set_errno, text};

fn mode(rule: Option<&Rule>, mode: c_uint) -> c_uint {
    let other = rule.and_then(|rule| rule.number("mode"));
    other.and_then(|mode| c_uint::try_from(mode).ok()).unwrap_or(mode)
}

/// What happens instead of a call; nothing where it is made.
fn instead(rule: Option<&Rule>) -> Option<c_int> {
    let rule = rule?;
    if let Some(errno) = rule.number("fail") {
        set_errno(c_int::try_from(errno).unwrap_or(5));
        return Some(-1);
    }
    rule.has("drop").then_some(0)
}

fn flags(rule: Option<&Rule>, flags: c_int) -> c_int {
    let number = |key| {
        rule.and_then(|rule| rule.number(key)).and_then(|n| c_int::try_from(n).ok()).unwrap_or(0)
    };
    flags & !number("without") | number("with")
}

type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, ...) -> c_int;
type Chmod = unsafe extern "C" fn(c_int, c_uint) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(at: c_int, path: *const c_char, how: c_int, with: c_uint) -> c_int {
    let rule = if rule::all().is_empty() { None } else { rule::find("open", text(path), b"") };
    if let Some(result) = instead(rule) {
        return result;
    }
    // SAFETY: the caller's own path; a mode that is not asked for is ignored.
    let fd = unsafe { next!(c"openat", OpenAt)(at, path, flags(rule, how), with) };
    if rule.is_some_and(|rule| rule.has("mode")) {
        // SAFETY: the descriptor was opened just now.
        unsafe { next!(c"fchmod", Chmod)(fd, mode(rule, with)) };
    }
    fd
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, how: c_int, with: c_uint) -> c_int {
    // SAFETY: the caller's own arguments; -100 is the working directory.
    unsafe { openat(-100, path, how, with) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, how: c_int, with: c_uint) -> c_int {
    // SAFETY: as above.
    unsafe { openat(-100, path, how, with) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fchmod(fd: c_int, with: c_uint) -> c_int {
    let rule = if rule::all().is_empty() { None } else { rule::find("chmod", &path_of(fd), b"") };
    // SAFETY: the caller's own descriptor.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"fchmod", Chmod)(fd, mode(rule, with)) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fchmodat(at: c_int, path: *const c_char, with: c_uint, how: c_int) -> c_int {
    type FChmodAt = unsafe extern "C" fn(c_int, *const c_char, c_uint, c_int) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("chmod", text(path), b"") };
    instead(rule)
        // SAFETY: the caller's own arguments.
        .unwrap_or_else(|| unsafe { next!(c"fchmodat", FChmodAt)(at, path, mode(rule, with), how) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkfifo(path: *const c_char, with: c_uint) -> c_int {
    type MkFifo = unsafe extern "C" fn(*const c_char, c_uint) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("mkfifo", text(path), b"") };
    // SAFETY: the caller's own path.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"mkfifo", MkFifo)(path, mode(rule, with)) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(a: c_int, from: *const c_char, b: c_int, to: *const c_char) -> c_int {
    type RenameAt = unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("rename", text(to), b"") };
    if rule.is_some_and(|rule| rule.has("copy")) {
        let content = std::fs::read(text(from)).unwrap_or_default();
        let _ = std::fs::remove_file(text(from));
        return std::fs::write(text(to), content).map_or(-1, |()| 0);
    }
    // SAFETY: the caller's own arguments.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"renameat", RenameAt)(a, from, b, to) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(at: c_int, path: *const c_char, how: c_int) -> c_int {
    type UnlinkAt = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("unlink", text(path), b"") };
    // SAFETY: the caller's own arguments.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"unlinkat", UnlinkAt)(at, path, how) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's own path.
    unsafe { unlinkat(-100, path, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn symlinkat(target: *const c_char, at: c_int, path: *const c_char) -> c_int {
    type SymlinkAt = unsafe extern "C" fn(*const c_char, c_int, *const c_char) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("symlink", text(path), b"") };
    let other = rule.and_then(|rule| rule.value("target")).map(c_string);
    let target = other.as_ref().map_or(target, |other| other.as_ptr());
    // SAFETY: the caller's own arguments.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"symlinkat", SymlinkAt)(target, at, path) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    type Close = unsafe extern "C" fn(c_int) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("close", &path_of(fd), b"") };
    // SAFETY: the caller's own descriptor.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"close", Close)(fd) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    type Fsync = unsafe extern "C" fn(c_int) -> c_int;
    let rule = if rule::all().is_empty() { None } else { rule::find("fsync", &path_of(fd), b"") };
    // SAFETY: the caller's own descriptor.
    instead(rule).unwrap_or_else(|| unsafe { next!(c"fsync", Fsync)(fd) })
}

/// `bind` (path: the socket's name): `mode=` is given to the name afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(fd: c_int, address: *const c_void, length: c_uint) -> c_int {
    type Bind = unsafe extern "C" fn(c_int, *const c_void, c_uint) -> c_int;
    // SAFETY: the caller's own arguments.
    let result = unsafe { next!(c"bind", Bind)(fd, address, length) };
    // SAFETY: every address begins with its family; 1 is that of names.
    let named = length > 2 && unsafe { address.cast::<u16>().read() } == 1;
    if result == 0 && named && !rule::all().is_empty() {
        // SAFETY: so many bytes are readable; a name may end before them.
        let name = unsafe {
            std::slice::from_raw_parts(address.cast::<u8>().add(2), length as usize - 2)
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        if let Some(rule) = rule::find("bind", &name, b"") {
            let permissions = std::fs::Permissions::from_mode(mode(Some(rule), 0o777));
            let _ = std::fs::set_permissions(name.as_ref(), permissions);
        }
    }
    result
}
