//! The cases, each a piece of a monitor's work that somebody waits or pays for.

mod flow;
mod idle;
mod latency;
mod lifecycle;
mod memory;
mod scale;

use super::lab::Lab;
use super::measure::Reading;
use super::options::{Options, Subject};
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
    /// Why the host cannot do it.
    pub obstacle: fn(&Lab) -> Option<String>,
}

impl Case {
    fn new(
        name: impl Into<String>,
        rounds: usize,
        run: impl Fn(&Lab, &Subject) -> Result<Vec<Reading>, Problem> + 'static,
    ) -> Self {
        let (name, run) = (name.into(), Box::new(run));
        Self { name, rounds, warms_up: true, run, limit: None, obstacle: |_| None }
    }
}

/// Every case, in the order of the tables.
pub fn all(options: &Options) -> Vec<Case> {
    let mut cases = memory::cases();
    cases.extend(lifecycle::cases());
    cases.extend(flow::cases());
    cases.extend(latency::cases());
    cases.extend(idle::cases(options.quick));
    cases.extend(scale::cases(options.quick));
    cases
}
