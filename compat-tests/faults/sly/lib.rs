//! Small faults on demand: a library that the dynamic linker loads into a world, and that
//! changes one thing the monitor does, in one mode of its life.
//!
//! `/run/compat-fault` describes the fault in rules, one on a line (see `rule.rs`). Each
//! function here stands before the C library's of the same name; without a rule that fits, the
//! call passes through. Only the monitor's own program is touched. It is built by the build
//! script and used by `tests/sly.rs` alone.

#![allow(clippy::missing_safety_doc, unused_unsafe)]

mod bytes;
mod files;
mod process;
mod rule;

use std::ffi::{CStr, CString, c_char, c_int, c_void};

pub const NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    pub fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    pub fn __errno_location() -> *mut c_int;
}

/// The function that ours stands before.
#[macro_export]
macro_rules! next {
    ($name:literal, $type:ty) => {{
        static ADDRESS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        let address =
            // SAFETY: the name is a C string.
            *ADDRESS.get_or_init(|| unsafe { $crate::dlsym($crate::NEXT, $name.as_ptr()) } as usize);
        // SAFETY: the C library's function of this name has this type.
        unsafe { std::mem::transmute::<usize, $type>(address) }
    }};
}

pub fn set_errno(errno: c_int) {
    // SAFETY: the C library gives a valid place.
    unsafe { *__errno_location() = errno };
}

pub fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: the monitor passes C strings here.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or_default()
}

pub fn path_of(fd: c_int) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    link.to_string_lossy().into_owned()
}

pub fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

/// Rules `argv` change the command line before the monitor reads it; `/proc` shows the old one.
#[used]
#[unsafe(link_section = ".init_array")]
static CHANGE_ARGUMENTS: unsafe extern "C" fn(c_int, *mut *mut c_char) = change_arguments;

unsafe extern "C" fn change_arguments(count: c_int, argv: *mut *mut c_char) {
    if rule::all().is_empty() {
        return;
    }
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: the list has `count` words and a null pointer behind them.
    let words = unsafe { std::slice::from_raw_parts_mut(argv, length) };
    let old: Vec<*mut c_char> = words.to_vec();
    let mut kept = Vec::new();
    let mut skip = 0;
    for word in old {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match rule::find("argv", "", text(word).as_bytes()) {
            Some(rule) if rule.has("drop") => skip = rule.number("more").unwrap_or(0),
            Some(rule) => kept.push(c_string(&rule.change(text(word).as_bytes())).into_raw()),
            None => kept.push(word),
        }
    }
    kept.resize(length, std::ptr::null_mut());
    words.copy_from_slice(&kept);
}
