//! The program's entry: C's `main`, without the standard library's prologue.
//!
//! The prologue prepares for threads and stack overflows: it reads /proc/self/maps, maps a
//! signal stack and allocates, which a monitor would pay for as long as it lives.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

/// The words of the command line, as the kernel laid them out.
///
/// Not `std::env::args_os`: without the prologue it is empty under musl.
#[derive(Clone, Copy)]
pub(crate) struct Arguments(*const *const c_char);

impl Arguments {
    pub(crate) fn iter(self) -> impl Iterator<Item = OsString> {
        (0..).map_while(move |index| {
            // SAFETY: the vector given to `main` ends with a null pointer, behind which
            // `map_while` does not go; it and its strings live as long as the process.
            let word = unsafe {
                let word = *self.0.add(index);
                if word.is_null() { None } else { Some(CStr::from_ptr(word)) }
            };
            word.map(|word| OsStr::from_bytes(word.to_bytes()).to_owned())
        })
    }
}

/// Called by the C library once it is ready.
#[cfg(not(any(test, fuzzing)))]
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, vector: *const *const c_char) -> libc::c_int {
    libc::c_int::from(crate::start(Arguments(vector)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_end_where_the_vector_does() {
        let vector = [c"conmon".as_ptr(), c"".as_ptr(), c"\xff".as_ptr(), std::ptr::null()];
        let words: Vec<OsString> = Arguments(vector.as_ptr()).iter().collect();
        assert_eq!(words, [OsStr::new("conmon"), OsStr::new(""), OsStr::from_bytes(b"\xff")]);
    }
}
