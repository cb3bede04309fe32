//! The cases, each a piece of a monitor's work that somebody waits or pays for.

mod flow;
mod idle;
mod latency;
mod lifecycle;
mod memory;
mod scale;
mod trickle;

use super::case::Case;
use super::options::Options;

/// Every case, in the order of the tables.
pub fn all(options: &Options) -> Vec<Case> {
    let mut cases = memory::cases();
    cases.extend(lifecycle::cases());
    cases.extend(flow::cases());
    cases.extend(latency::cases());
    cases.extend(trickle::cases(options.quick));
    cases.extend(idle::cases(options.quick));
    cases.extend(scale::cases(options.quick));
    cases
}
