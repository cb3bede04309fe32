//! What the stand-in refuses, and why.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a call cannot be carried out.
#[derive(Debug)]
pub enum Problem {
    NoCommand,
    Script { path: PathBuf, reason: String },
    Step(Vec<String>),
    Missing(&'static str),
    Io { what: &'static str, error: io::Error },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => write!(f, "no create, restore, exec or start"),
            Self::Script { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Step(words) => write!(f, "bad step {words:?}"),
            Self::Missing(what) => write!(f, "the call has no {what}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}
