//! The process's stack.

use std::ptr;

/// How far below its present end the stack is taken to have been used before.
const DEEPEST_BYTES: usize = 128 * 1024;

/// More than this function and the one it calls use below their caller's frame.
const IN_USE_BYTES: usize = 1024;

/// Gives back the memory of the stack's unused part: what was called before needed more of it
/// than what is called from now on.
#[inline(never)]
pub(crate) fn release_unused() {
    let here = 0_u8;
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page @ 1..) = usize::try_from(page) else { return };
    // The call below needs a little more than what is in use now.
    let end = (ptr::from_ref(&here).addr() - IN_USE_BYTES) / page * page;
    let start = end - DEEPEST_BYTES;
    // SAFETY: the range lies in the main thread's stack, below every frame in use, or in the
    // gap that the kernel keeps free under it. It refuses that part (ENOMEM) but does the rest.
    unsafe {
        libc::madvise(ptr::without_provenance_mut(start), DEEPEST_BYTES, libc::MADV_DONTNEED)
    };
}
