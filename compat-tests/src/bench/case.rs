//! What a case of the benchmark is.

use std::process::Command;

use super::lab::Lab;
use super::measure::Reading;
use super::options::Subject;
use super::problem::Problem;

/// What `cat` is called in a table: the cost of moving the same bytes without a monitor.
pub const LIMIT: &str = "cat";

type Run = Box<dyn Fn(&Lab, &Subject) -> Result<Vec<Reading>, Problem>>;
type Limit = Box<dyn Fn(&Lab) -> Result<Vec<Reading>, Problem>>;

/// Something to measure.
pub struct Case {
    pub name: String,
    pub rounds: usize,
    pub warms_up: bool,
    /// One round for one subject.
    pub run: Run,
    /// The same without a monitor.
    pub limit: Option<Limit>,
    /// Whether the least monitor can do it as well.
    pub has_floor: bool,
    /// Why the host cannot do it.
    pub obstacle: fn(&Lab) -> Option<String>,
}

impl Case {
    /// A case without a limit that any host can do.
    pub fn new(
        name: impl Into<String>,
        rounds: usize,
        run: impl Fn(&Lab, &Subject) -> Result<Vec<Reading>, Problem> + 'static,
    ) -> Self {
        let (name, run) = (name.into(), Box::new(run));
        Self {
            name,
            rounds,
            warms_up: true,
            run,
            limit: None,
            has_floor: false,
            obstacle: |_| None,
        }
    }
}

/// Why system calls cannot be counted here.
pub fn no_strace() -> Option<String> {
    let strace = Command::new("strace").arg("--version").output();
    strace.err().map(|error| format!("strace: {error}"))
}
