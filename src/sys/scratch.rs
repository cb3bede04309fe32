//! Memory for what is only needed for a while, given back whole.
//!
//! Reading the command line allocates and frees all over the heap, and a page of the heap that
//! was touched once stays with a monitor for its container's life. Between `begin` and `end`
//! everything is allocated in a region of its own, which goes as soon as nothing lives in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Far more than the longest sensible command line takes; what does not fit goes to the heap.
const REGION_BYTES: usize = 512 * 1024;

/// The program's allocator: the region while it is open, else the C library's heap.
struct Allocator;

// Tests have threads, which the region is not made for.
#[cfg_attr(not(test), global_allocator)]
#[cfg_attr(test, allow(dead_code))]
static ALLOCATOR: Allocator = Allocator;

// The program has one thread; the atomics only make that known to the compiler.
static OPEN: AtomicBool = AtomicBool::new(false);
/// Nothing will be allocated in the region any more.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// The region's address, 0 without one.
static START: AtomicUsize = AtomicUsize::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);
/// Allocations that live in the region.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Opens the region; without memory for it, allocations just go to the heap.
pub(crate) fn begin() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), REGION_BYTES, protection, flags, -1, 0) };
    if start != libc::MAP_FAILED {
        START.store(start.expose_provenance(), Relaxed);
        CLOSED.store(false, Relaxed);
        OPEN.store(true, Relaxed);
    }
}

/// Closes the region: what is allocated from now on is to stay.
pub(crate) fn end() {
    OPEN.store(false, Relaxed);
    CLOSED.store(true, Relaxed);
    release_if_empty();
}

/// Does something whose allocations are to stay although the region is open.
pub(crate) fn outside<T>(make: impl FnOnce() -> T) -> T {
    let open = OPEN.swap(false, Relaxed);
    let made = make();
    OPEN.store(open, Relaxed);
    made
}

fn release_if_empty() {
    if LIVE.load(Relaxed) == 0 {
        let start = START.swap(0, Relaxed);
        if start != 0 {
            USED.store(0, Relaxed);
            // SAFETY: the mapping is the region's, and no allocation lives in it.
            unsafe { libc::munmap(ptr::with_exposed_provenance_mut(start), REGION_BYTES) };
        }
    }
}

fn is_in_region(block: *mut u8) -> bool {
    let start = START.load(Relaxed);
    start != 0 && block.addr().wrapping_sub(start) < REGION_BYTES
}

/// The next block of the region, if it is open and has room.
fn take(layout: Layout) -> Option<*mut u8> {
    if !OPEN.load(Relaxed) {
        return None;
    }
    let start = START.load(Relaxed);
    let at = start.checked_add(USED.load(Relaxed))?.checked_next_multiple_of(layout.align())?;
    let used = (at - start).checked_add(layout.size()).filter(|used| *used <= REGION_BYTES)?;
    USED.store(used, Relaxed);
    LIVE.store(LIVE.load(Relaxed) + 1, Relaxed);
    Some(ptr::with_exposed_provenance_mut(at))
}

// SAFETY: a block is either the region's, where blocks neither overlap nor are used twice and
// all of which stays mapped while one of them lives, or the system allocator's, to which it
// goes back. One thread does all this.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on.
        take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_in_region(block) {
            LIVE.store(LIVE.load(Relaxed) - 1, Relaxed);
            if CLOSED.load(Relaxed) {
                release_if_empty();
            }
        } else {
            // SAFETY: not the region's, so the system allocator made it with this layout.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_in_region(block) {
            // SAFETY: as for `dealloc`; the caller's promise about `size` is passed on.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is no overflow.
        let layout_now = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: both blocks are valid for what is copied and differ; the old one is the
        // caller's to give up.
        unsafe {
            let new = self.alloc(layout_now);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test that opens the region, which is the process's.
    #[test]
    fn the_region_goes_with_its_last_block_and_not_before() {
        let layout = Layout::from_size_align(100, 32).unwrap();
        begin();
        // SAFETY: the layouts have a size; every block is freed once, with its own layout.
        unsafe {
            let first = ALLOCATOR.alloc(layout);
            let second = ALLOCATOR.alloc(layout);
            assert!(is_in_region(first) && is_in_region(second));
            assert!(second.addr() >= first.addr() + 100 && second.addr() % 32 == 0);
            first.write_bytes(7, 100);
            let huge = Layout::from_size_align(REGION_BYTES, 1).unwrap();
            let outside = ALLOCATOR.alloc(huge);
            assert!(!is_in_region(outside));
            ALLOCATOR.dealloc(outside, huge);
            end();
            let moved = ALLOCATOR.realloc(first, layout, 200);
            assert!(!is_in_region(moved) && *moved.add(99) == 7);
            assert_ne!(START.load(Relaxed), 0);
            ALLOCATOR.dealloc(second, layout);
            assert_eq!(START.load(Relaxed), 0);
            ALLOCATOR.dealloc(moved, Layout::from_size_align(200, 32).unwrap());
        }
    }
}
