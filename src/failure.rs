//! Why the monitor refuses or gives up, in the words its callers already match on.

use nix::errno::Errno;

/// A failure on its way to the caller: what failed on which object, and the system's reason.
///
/// The wording is part of the interface (Podman classifies errors by it), so a failure is
/// text made where it arises, not a code that is rendered elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    text: Vec<u8>,
    errno: Option<Errno>,
}

impl Failure {
    /// A failure that is no system call's.
    pub(crate) fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), errno: None }
    }

    /// A failed system call; `text` names the operation and the object.
    pub(crate) fn with_errno(text: impl Into<Vec<u8>>, errno: Errno) -> Self {
        Self { text: text.into(), errno: Some(errno) }
    }

    /// What failed, without the system's reason.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The whole sentence: the text, one blank, the system's reason.
    pub(crate) fn sentence(&self) -> Vec<u8> {
        let mut sentence = self.text.clone();
        if let Some(errno) = self.errno {
            sentence.push(b' ');
            sentence.extend_from_slice(crate::sys::errno::describe(errno).as_bytes());
        }
        sentence
    }
}

/// Joins pieces of a message that may hold bytes of any encoding, such as paths.
pub(crate) fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
