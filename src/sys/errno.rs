//! The C library's words for an errno, which callers see and match on.

use std::ffi::CStr;

use nix::errno::Errno;

/// What strerror(3) says in the C locale, for example `No such file or directory`.
///
/// Not `Errno::desc`, whose wording differs from the C library's for some codes.
pub(crate) fn describe(errno: Errno) -> String {
    let mut text: [libc::c_char; 128] = [0; 128];
    // SAFETY: the buffer is valid for its whole length and strerror_r ends what it writes
    // with a NUL inside it; the XSI variant, which the libc crate binds, keeps no pointer.
    let described = unsafe {
        libc::strerror_r(errno as libc::c_int, text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr())
    };
    described.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_the_c_librarys_words() {
        assert_eq!(describe(Errno::ENOENT), "No such file or directory");
        assert_eq!(describe(Errno::ERANGE), "Numerical result out of range");
    }
}
