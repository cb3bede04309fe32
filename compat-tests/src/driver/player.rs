//! The player: process 1 of a world, which builds it, plays one scenario in it and prints what was seen.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sched::{CloneFlags, unshare};

use crate::scenario::Scenario;
use crate::sys;
use crate::world::build;
use crate::world::mounts::private_mounts;
use crate::world::request::Request;
use crate::world::watchdog::end_at;

/// The hidden sub-command.
pub const COMMAND: &str = "__play";

/// How many times longer than planned a scenario may take on a loaded machine.
const SLOWEST: u32 = 4;

/// How much longer than its scenario a player may live.
const GRACE: Duration = Duration::from_secs(20);

/// The player's life: build the world, play, print what was seen.
///
/// # Errors
///
/// What the world lacked.
pub fn play() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    sys::close_inherited_on_exec()?;
    let _reserved = sys::reserve_low_descriptors()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    private_mounts()?;
    let mut scenario = Scenario::parse(&request.scenario_path, &request.scenario)?;
    scenario.data.deadline = request.deadline.unwrap_or(scenario.data.deadline);
    let limit = Duration::from_secs_f64(scenario.data.deadline);
    end_at(Instant::now() + limit * SLOWEST + GRACE)?;
    let world = build::build(&request, &scenario)?;
    let observation = super::play(&request, &scenario, &world)?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &observation)?;
    out.flush()?;
    Ok(())
}
