//! Why a step came to nothing.

use std::fmt;

use nix::errno::Errno;

/// Why a step was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    Deadline,
    NotMet,
    /// What should have brought it about has ended.
    Never,
    Failed(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("the deadline came"),
            Self::NotMet => f.write_str("not within its bound"),
            Self::Never => f.write_str("can no longer happen"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.desc().to_string())
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self::Failed(error.to_string()),
        }
    }
}
