//! Why the monitor refuses or gives up, in the words its callers already match on.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What a message says. Whether it is constant or was made for the occasion shows in the
/// system log, where the reference joins the two kinds to the system's reason differently.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Constant(&'static str),
    Made(Vec<u8>),
}

impl Text {
    /// A text that the reference makes for the occasion, although here it is always the same.
    pub(crate) fn made(text: &str) -> Self {
        Self::Made(text.as_bytes().to_vec())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Constant(text) => text.as_bytes(),
            Self::Made(text) => text,
        }
    }
}

/// Two texts are equal that read the same.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Text {}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Constant(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Made(text.into_bytes())
    }
}

impl From<Vec<u8>> for Text {
    fn from(text: Vec<u8>) -> Self {
        Self::Made(text)
    }
}

/// A failure on its way to the caller: what failed on which object, and the system's reason.
///
/// The wording is part of the interface (Podman classifies errors by it), so a failure is
/// text made where it arises, not a code that is rendered elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    text: Text,
    errno: Option<Errno>,
    /// The object, where the reference's text does not name it.
    path: Option<PathBuf>,
}

impl Failure {
    /// A failure that is no system call's.
    pub(crate) fn new(text: impl Into<Text>) -> Self {
        Self { text: text.into(), errno: None, path: None }
    }

    /// A failed system call; `text` names the operation and the object.
    pub(crate) fn with_errno(text: impl Into<Text>, errno: Errno) -> Self {
        Self { text: text.into(), errno: Some(errno), path: None }
    }

    /// Adds the object that the text, being the reference's, leaves out.
    #[must_use]
    pub(crate) fn on(self, path: &Path) -> Self {
        Self { path: Some(path.to_path_buf()), ..self }
    }

    /// What failed, without the system's reason.
    pub(crate) fn text(&self) -> &Text {
        &self.text
    }

    pub(crate) fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The sentence for stderr: the text, one blank, the system's reason.
    pub(crate) fn sentence(&self) -> Vec<u8> {
        self.joined(self.text.bytes(), b" ")
    }

    /// The sentence for the caller, which names the object in any case.
    pub(crate) fn report(&self) -> Vec<u8> {
        match &self.path {
            None => self.sentence(),
            Some(path) => {
                let text = concat(&[self.text.bytes(), b" ", path.as_os_str().as_bytes()]);
                self.joined(&text, b": ")
            }
        }
    }

    fn joined(&self, text: &[u8], gap: &[u8]) -> Vec<u8> {
        match self.errno {
            None => text.to_vec(),
            Some(errno) => concat(&[text, gap, crate::sys::errno::describe(errno).as_bytes()]),
        }
    }
}

/// Joins pieces of a message that may hold bytes of any encoding, such as paths.
pub(crate) fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_told_the_object_that_stderr_is_not() {
        let failure = Failure::with_errno("Failed to open log file", Errno::ENOENT);
        let failure = failure.on(Path::new("/nowhere/log"));
        assert_eq!(failure.sentence(), b"Failed to open log file No such file or directory");
        assert_eq!(
            failure.report(),
            b"Failed to open log file /nowhere/log: No such file or directory"
        );
    }

    #[test]
    fn a_text_that_says_it_all_is_left_alone() {
        let failure = Failure::new("k8s-file doesn't support --log-tag");
        assert_eq!(failure.report(), failure.sentence());
    }
}
