//! What the monitor writes (`write` for files and pipes, `send` for sockets) and reads (`read`).
//!
//! Actions besides the changes of content: `drop` (says it was done), `fail=ERRNO`, `delay=MS`.

use std::ffi::{c_int, c_uint, c_void};

use crate::rule::{self, Rule};
use crate::{next, path_of, set_errno};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Part {
    base: *mut c_void,
    length: usize,
}

#[repr(C)]
pub struct Message {
    name: *mut c_void,
    name_length: c_uint,
    parts: *mut Part,
    count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

#[repr(C)]
pub struct Counted {
    message: Message,
    length: c_uint,
}

type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;

fn done(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}

unsafe fn joined(parts: *const Part, count: usize) -> Vec<u8> {
    // SAFETY: the caller's parts are readable, each for its length.
    unsafe { std::slice::from_raw_parts(parts, count) }
        .iter()
        // SAFETY: as above.
        .flat_map(|part| unsafe { std::slice::from_raw_parts(part.base.cast::<u8>(), part.length) })
        .copied()
        .collect()
}

/// What happens instead; nothing where the content is to be sent on, changed.
fn instead(rule: &Rule, length: usize) -> Option<isize> {
    if let Some(milliseconds) = rule.number("delay") {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds as u64));
    }
    if let Some(errno) = rule.number("fail") {
        set_errno(c_int::try_from(errno).unwrap_or(5));
        return Some(-1);
    }
    rule.has("drop").then(|| done(length))
}

fn write_changed(fd: c_int, rule: &Rule, bytes: &[u8]) -> isize {
    if let Some(result) = instead(rule, bytes.len()) {
        return result;
    }
    let real = next!(c"write", Write);
    let changed = rule.change(bytes);
    // SAFETY: our own bytes.
    let written = unsafe { real(fd, changed.as_ptr().cast(), changed.len()) };
    if written < 0 { written } else { done(bytes.len()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, length: usize) -> isize {
    if !rule::all().is_empty() {
        // SAFETY: the caller's buffer is readable for its length.
        let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
        if let Some(rule) = rule::find("write", &path_of(fd), bytes) {
            return write_changed(fd, rule, bytes);
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { next!(c"write", Write)(fd, data, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const Part, count: c_int) -> isize {
    if !rule::all().is_empty() {
        // SAFETY: the caller's parts.
        let bytes = unsafe { joined(parts, usize::try_from(count).unwrap_or(0)) };
        if let Some(rule) = rule::find("write", &path_of(fd), &bytes) {
            return write_changed(fd, rule, &bytes);
        }
    }
    type WriteV = unsafe extern "C" fn(c_int, *const Part, c_int) -> isize;
    // SAFETY: the caller's own arguments.
    unsafe { next!(c"writev", WriteV)(fd, parts, count) }
}

/// Sends other content in place of `message`'s.
unsafe fn send_changed(fd: c_int, rule: &Rule, message: *const Message, flags: c_int, bytes: &[u8]) -> isize {
    if let Some(result) = instead(rule, bytes.len()) {
        return result;
    }
    let mut changed = rule.change(bytes);
    let mut part = Part { base: changed.as_mut_ptr().cast(), length: changed.len() };
    // SAFETY: the caller's message is readable.
    let mut copy = unsafe { std::ptr::read(message) };
    copy.parts = &raw mut part;
    copy.count = 1;
    // SAFETY: the copy and its part live until the call has returned.
    let sent = unsafe { next!(c"sendmsg", SendMsg)(fd, &raw const copy, flags) };
    if sent < 0 { sent } else { done(bytes.len()) }
}

type SendMsg = unsafe extern "C" fn(c_int, *const Message, c_int) -> isize;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const Message, flags: c_int) -> isize {
    if !rule::all().is_empty() {
        // SAFETY: the caller's message.
        let bytes = unsafe { joined((*message).parts, (*message).count) };
        if let Some(rule) = rule::find("send", "", &bytes) {
            // SAFETY: the caller's message.
            return unsafe { send_changed(fd, rule, message, flags, &bytes) };
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { next!(c"sendmsg", SendMsg)(fd, message, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmmsg(fd: c_int, list: *mut Counted, count: c_uint, flags: c_int) -> c_int {
    type SendMmsg = unsafe extern "C" fn(c_int, *mut Counted, c_uint, c_int) -> c_int;
    if rule::all().is_empty() {
        // SAFETY: the caller's own arguments.
        return unsafe { next!(c"sendmmsg", SendMmsg)(fd, list, count, flags) };
    }
    let mut sent = 0;
    for index in 0..count as usize {
        // SAFETY: the caller's list has `count` entries, ours to write the lengths into.
        let length = unsafe { sendmsg(fd, &raw const (*list.add(index)).message, flags) };
        if length < 0 {
            return if sent == 0 { -1 } else { sent };
        }
        // SAFETY: as above.
        unsafe { (*list.add(index)).length = c_uint::try_from(length).unwrap_or(0) };
        sent += 1;
    }
    sent
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
    let mut part = Part { base: data.cast_mut(), length };
    let message = Message {
        name: address.cast_mut(),
        name_length: address_length,
        parts: &raw mut part,
        count: 1,
        control: std::ptr::null_mut(),
        control_length: 0,
        flags: 0,
    };
    // SAFETY: the message is made of the caller's own arguments.
    unsafe { sendmsg(fd, &raw const message, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(fd: c_int, data: *const c_void, length: usize, flags: c_int) -> isize {
    // SAFETY: the caller's own arguments.
    unsafe { sendto(fd, data, length, flags, std::ptr::null(), 0) }
}

/// Changes what was read, as far as it fits the caller's buffer.
unsafe fn read_changed(fd: c_int, data: *mut c_void, space: usize, length: isize) -> isize {
    let Ok(count) = usize::try_from(length) else { return length };
    if rule::all().is_empty() || count > space {
        return length;
    }
    // SAFETY: so much was read into the caller's buffer.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), count) }.to_vec();
    let Some(rule) = rule::find("read", &path_of(fd), &bytes) else { return length };
    if let Some(errno) = rule.number("fail") {
        set_errno(c_int::try_from(errno).unwrap_or(5));
        return -1;
    }
    let mut changed = rule.change(&bytes);
    changed.truncate(space);
    // SAFETY: the buffer has `space` bytes.
    unsafe { std::ptr::copy_nonoverlapping(changed.as_ptr(), data.cast::<u8>(), changed.len()) };
    done(changed.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, data: *mut c_void, space: usize) -> isize {
    type Read = unsafe extern "C" fn(c_int, *mut c_void, usize) -> isize;
    // SAFETY: the caller's own arguments, and what the call has written.
    unsafe { read_changed(fd, data, space, next!(c"read", Read)(fd, data, space)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(fd: c_int, data: *mut c_void, space: usize, flags: c_int) -> isize {
    type Recv = unsafe extern "C" fn(c_int, *mut c_void, usize, c_int) -> isize;
    // SAFETY: the caller's own arguments, and what the call has written.
    unsafe { read_changed(fd, data, space, next!(c"recv", Recv)(fd, data, space, flags)) }
}
