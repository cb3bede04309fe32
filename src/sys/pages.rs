//! Memory that costs nothing until it is touched and can be given back.

use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// A buffer of whole pages, zero at first.
pub(crate) struct Pages {
    start: NonNull<libc::c_void>,
    length: NonZeroUsize,
}

impl Pages {
    /// Maps `length` bytes; none of them is in memory yet.
    pub(crate) fn new(length: NonZeroUsize) -> nix::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches
        // no memory that is in use.
        let start = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }?;
        Ok(Self { start, length })
    }

    /// Gives the memory back to the system; the content becomes zero.
    pub(crate) fn release(&mut self) {
        // SAFETY: the range is this mapping, and `&mut self` shows that nobody looks at it.
        // Should the kernel refuse, the pages just stay.
        let _ = unsafe { madvise(self.start, self.length.get(), MmapAdvise::MADV_DONTNEED) };
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `length` bytes long, initialised (zero) and lives
        // as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length.get()) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; the mapping is writable and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length.get()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping and nothing can refer to it any more.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_at_first_and_after_release() {
        let mut pages = Pages::new(NonZeroUsize::new(10_000).unwrap()).unwrap();
        assert!(pages.iter().all(|byte| *byte == 0));
        pages[9_999] = 7;
        pages.release();
        assert_eq!(pages[9_999], 0);
    }
}
