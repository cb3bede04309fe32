//! The few C library calls the payload needs, declared here so that it has no dependencies.
//!
//! All `unsafe` of the payload is in this file.

use std::ffi::{CString, OsStr, c_int, c_ulong, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

#[repr(C)]
#[derive(Default)]
struct WinSize {
    rows: u16,
    columns: u16,
    x_pixels: u16,
    y_pixels: u16,
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

unsafe extern "C" {
    fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn write(fd: c_int, buffer: *const c_void, length: usize) -> isize;
    fn close(fd: c_int) -> c_int;
    fn fork() -> c_int;
    fn _exit(status: c_int) -> !;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn getpid() -> c_int;
    fn getppid() -> c_int;
    fn getpgrp() -> c_int;
    fn getsid(pid: c_int) -> c_int;
    fn setsid() -> c_int;
    fn isatty(fd: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn signal(number: c_int, disposition: usize) -> usize;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn chdir(path: *const std::ffi::c_char) -> c_int;
    fn inotify_init1(flags: c_int) -> c_int;
    fn inotify_add_watch(fd: c_int, path: *const std::ffi::c_char, mask: u32) -> c_int;
    fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
}

const MADV_FREE: c_int = 8;
/// A multiple of every machine's page size.
const PAGES: usize = 64 * 1024;

#[cfg(any(target_arch = "powerpc64", target_arch = "powerpc"))]
const TIOCGWINSZ: c_ulong = 0x4008_7468;
#[cfg(not(any(target_arch = "powerpc64", target_arch = "powerpc")))]
const TIOCGWINSZ: c_ulong = 0x5413;
#[cfg(any(target_arch = "powerpc64", target_arch = "powerpc"))]
const FIONREAD: c_ulong = 0x4004_667f;
#[cfg(not(any(target_arch = "powerpc64", target_arch = "powerpc")))]
const FIONREAD: c_ulong = 0x541b;

const SIG_IGN: usize = 1;
const POLLIN: i16 = 1;
const POLLOUT: i16 = 4;
const SIGNALS: usize = 65;

#[allow(clippy::declare_interior_mutable_const)]
const NO_TEXT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static TEXTS: [AtomicPtr<u8>; SIGNALS] = [NO_TEXT; SIGNALS];
#[allow(clippy::declare_interior_mutable_const)]
const NO_LENGTH: AtomicUsize = AtomicUsize::new(0);
static LENGTHS: [AtomicUsize; SIGNALS] = [NO_LENGTH; SIGNALS];
/// Signals handled so far.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Writes all of `bytes`, whatever the descriptor's mode.
pub fn write_all(fd: c_int, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length describe `bytes`.
        let written = unsafe { write(fd, bytes.as_ptr().cast(), bytes.len()) };
        if let Ok(written) = usize::try_from(written) {
            bytes = bytes.get(written..).unwrap_or_default();
            continue;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => wait_ready(fd, POLLOUT, -1),
            _ => return Err(error),
        }
    }
    Ok(())
}

/// Reads once; zero is the end of the input, which a terminal also tells by `EIO`.
pub fn read_some(fd: c_int, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: pointer and length describe `buffer`.
        let count = unsafe { read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => wait_ready(fd, POLLIN, -1),
            _ if error.raw_os_error() == Some(5) => return Ok(0),
            _ => return Err(error),
        }
    }
}

fn wait_ready(fd: c_int, events: i16, timeout: c_int) {
    let mut interest = PollFd { fd, events, revents: 0 };
    // SAFETY: one valid entry, as the count says.
    let _ = unsafe { poll(&raw mut interest, 1, timeout) };
}

/// Waits some milliseconds, or until a signal has been handled.
pub fn tick(milliseconds: c_int) {
    // SAFETY: no entries, as the count says.
    let _ = unsafe { poll(std::ptr::null_mut(), 0, milliseconds) };
}

/// What is told of a directory: an entry made or renamed into it, and its own end. Source: linux/inotify.h.
const ENTRIES: u32 = 0x100 | 0x80 | 0x400 | 0x800;

/// Waits until a file is there, or the directory it should be in is not.
pub fn wait_file(path: &OsStr) {
    let path = Path::new(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // To look for the file takes memory of the kernel, of which a container at its limit may have none.
    let watch = directory.and_then(|directory| Watch::new(directory).ok());
    while !path.exists() && directory.is_none_or(Path::exists) {
        match watch.as_ref().zip(path.file_name()).map(|(watch, name)| watch.tells(name)) {
            Some(Ok(true)) => break,
            Some(Ok(false)) => {}
            Some(Err(_)) | None => tick(5),
        }
    }
}

/// Tells of new entries of a directory.
struct Watch(c_int);

impl Watch {
    fn new(directory: &Path) -> io::Result<Self> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: this call takes a number.
        let watch = match unsafe { inotify_init1(0) } {
            fd if fd < 0 => return Err(io::Error::last_os_error()),
            fd => Self(fd),
        };
        // SAFETY: the path ends with a zero byte.
        let added = unsafe { inotify_add_watch(watch.0, path.as_ptr(), ENTRIES) };
        if added < 0 { Err(io::Error::last_os_error()) } else { Ok(watch) }
    }

    /// Waits until something is told; whether it is an entry of this name.
    fn tells(&self, name: &OsStr) -> io::Result<bool> {
        // Each event has a head of 16 bytes, of which the last four are the length of the name behind it, padded with zeros.
        let mut events = [0; 4096];
        let length = read_some(self.0, &mut events)?;
        let mut rest = events.get(..length).unwrap_or_default();
        let mut found = false;
        while let Some((head, more)) = rest.split_at_checked(16) {
            let length = head.last_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize);
            let Some((padded, more)) = more.split_at_checked(length) else { break };
            found |= padded.split(|byte| *byte == 0).next() == Some(name.as_bytes());
            rest = more;
        }
        Ok(found)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        close_fd(self.0);
    }
}

/// Bytes in the pipe behind `fd` that its reader has not taken yet.
pub fn unread(fd: c_int) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD stores one int.
    if unsafe { ioctl(fd, FIONREAD, &raw mut count) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

pub fn close_fd(fd: c_int) {
    // SAFETY: the caller asked for just this; nothing here owns descriptors.
    let _ = unsafe { close(fd) };
}

/// Forks; the payload has one thread, so the child may go on as it likes.
pub fn fork_process() -> io::Result<c_int> {
    // SAFETY: single-threaded, see above.
    match unsafe { fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

pub fn exit_now(status: c_int) -> ! {
    // SAFETY: always allowed.
    unsafe { _exit(status) }
}

pub fn raise(number: c_int) {
    // SAFETY: signals this very process.
    let _ = unsafe { kill(getpid(), number) };
}

/// pid, parent, process group and session.
pub fn ids() -> [c_int; 4] {
    // SAFETY: these only read.
    unsafe { [getpid(), getppid(), getpgrp(), getsid(0)] }
}

pub fn new_session() -> io::Result<()> {
    // SAFETY: changes only this process's session.
    if unsafe { setsid() } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub fn is_terminal(fd: c_int) -> bool {
    // SAFETY: only asks.
    unsafe { isatty(fd) == 1 }
}

/// Rows and columns of the terminal on `fd`.
pub fn window_size(fd: c_int) -> io::Result<(u16, u16)> {
    window(fd).map(|size| (size.rows, size.columns))
}

/// Its width and height in pixels.
pub fn window_pixels(fd: c_int) -> io::Result<(u16, u16)> {
    window(fd).map(|size| (size.x_pixels, size.y_pixels))
}

fn window(fd: c_int) -> io::Result<WinSize> {
    let mut size = WinSize::default();
    // SAFETY: TIOCGWINSZ stores one such struct.
    if unsafe { ioctl(fd, TIOCGWINSZ, &raw mut size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(size)
}

pub fn change_directory(path: &OsStr) -> io::Result<()> {
    let path = CString::new(path.as_bytes())?;
    // SAFETY: a NUL-terminated path.
    if unsafe { chdir(path.as_ptr()) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the kernel take the whole pages of `memory` back when it is short of some, or its limit is lowered.
pub fn offer(memory: &'static mut [u8]) -> io::Result<()> {
    let (_, aligned) = memory.split_at_mut(memory.as_ptr().align_offset(PAGES));
    let length = aligned.len() / PAGES * PAGES;
    // SAFETY: whole pages of a slice that nobody else knows, be their content kept or zero.
    let offered = unsafe { madvise(aligned.as_mut_ptr().cast(), length, MADV_FREE) };
    if offered < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub fn ignore(number: c_int) {
    // SAFETY: SIG_IGN is a valid disposition.
    let _ = unsafe { signal(number, SIG_IGN) };
}

/// From now on `number` writes `text` to standard output.
pub fn trap(number: c_int, text: Vec<u8>) {
    let slot = usize::try_from(number).unwrap_or(0);
    if let (Some(pointer), Some(length)) = (TEXTS.get(slot), LENGTHS.get(slot)) {
        let text = Box::leak(text.into_boxed_slice());
        length.store(text.len(), Ordering::SeqCst);
        pointer.store(text.as_mut_ptr(), Ordering::SeqCst);
    }
    install(number, on_trapped);
}

/// From now on a window change writes `winch ROWS COLUMNS` to standard output.
pub fn report_window_changes() {
    const SIGWINCH: c_int = 28;
    install(SIGWINCH, on_window_change);
}

/// How many trapped signals have arrived.
pub fn handled() -> usize {
    HANDLED.load(Ordering::SeqCst)
}

fn install(number: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: the handlers below call nothing but write and ioctl.
    let _ = unsafe { signal(number, handler as *const () as usize) };
}

extern "C" fn on_trapped(number: c_int) {
    let slot = usize::try_from(number).unwrap_or(0);
    if let (Some(pointer), Some(length)) = (TEXTS.get(slot), LENGTHS.get(slot)) {
        let (pointer, length) = (pointer.load(Ordering::SeqCst), length.load(Ordering::SeqCst));
        if !pointer.is_null() {
            // SAFETY: `trap` leaked exactly this slice.
            let _ = unsafe { write(1, pointer.cast(), length) };
        }
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn on_window_change(_number: c_int) {
    if let Ok((rows, columns)) = window_size(0) {
        let mut line = [0_u8; 32];
        let mut used = 0;
        for part in [b"winch ".as_slice(), &digits(rows), b" ", &digits(columns), b"\n"] {
            for &byte in part.iter().filter(|&&byte| byte != 0) {
                if let Some(place) = line.get_mut(used) {
                    *place = byte;
                    used += 1;
                }
            }
        }
        // SAFETY: `used` bytes of `line` are filled.
        let _ = unsafe { write(1, line.as_ptr().cast(), used) };
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Decimal digits, with NUL in place of leading zeros: no allocation in a signal handler.
fn digits(mut number: u16) -> [u8; 5] {
    let mut text = [0_u8; 5];
    for place in text.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text
}
