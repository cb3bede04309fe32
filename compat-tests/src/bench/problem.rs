//! Why a measurement could not be made: it ends the run, since half a table misleads.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// What was being done, and what came of it.
#[derive(Debug)]
pub struct Problem(String);

impl Problem {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For `map_err`: names what was being done.
    pub fn io<E: fmt::Display>(doing: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{doing}: {error}"))
    }

    /// For `map_err`: what other rooms say, with its causes.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub fn chain(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }

    /// Says which measurement it was.
    pub fn of(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The exit status; a problem is said.
pub fn told(done: Result<ExitCode, Problem>) -> ExitCode {
    done.unwrap_or_else(|problem| {
        let _ = writeln!(std::io::stderr(), "bench: {problem}");
        ExitCode::FAILURE
    })
}
