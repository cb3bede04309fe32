//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whose behaviour a test looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    Candidate,
    Reference,
}

impl Subject {
    /// The binary. A missing one fails the test: it is never a reason to skip.
    pub fn path(self) -> PathBuf {
        let path = match self {
            Self::Candidate => from_env("CONMON_CANDIDATE").unwrap_or_else(built_conmon),
            Self::Reference => from_env("CONMON_REFERENCE").unwrap_or("/usr/bin/conmon".into()),
        };
        assert!(path.exists(), "{self:?}: there is no {}", path.display());
        path
    }

    /// Whether a row that states what 2.1.6 does can be checked.
    pub fn fits_2_1_6(self) -> bool {
        self == Self::Candidate || reference_version() == "2.1.6"
    }
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// The workspace's own build.
fn built_conmon() -> PathBuf {
    beside("conmon")
}

/// A program of the workspace; all lie in one directory.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_conmon-compat")).with_file_name(name)
}

/// A helper program's path. A missing one fails the test: `cargo build --workspace` makes them.
pub fn helper(name: &str) -> String {
    let path = beside(name);
    assert!(path.exists(), "there is no {}: `cargo build --workspace` makes it", path.display());
    path.to_str().unwrap().to_owned()
}

fn reference_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let output = Command::new(Subject::Reference.path()).arg("--version").output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split_whitespace().nth(2).unwrap_or_default().to_owned()
    })
}
