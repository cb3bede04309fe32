//! The processes between the table and a node: the keeper of [`crate::world::keeper`], and our own player.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;

use super::cases;
use super::facts::Facts;
use super::node::Node;
use super::request::Request;
use super::world;
use crate::sys;
use crate::world::mounts::{mount_proc, private_mounts};
use crate::world::watchdog::end_at;

/// The hidden sub-command.
pub const COMMAND: &str = "__play-crio";

/// The most a case may take, in limits of a single wait.
const LIMITS_A_CASE: u64 = 8;

/// The player's life: make the node, play, print what was seen.
///
/// # Errors
///
/// What the world lacked; whatever a monitor does is a fact.
pub fn play() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let case = cases::all().into_iter().find(|case| case.id() == request.case);
    let case = case.context("no such case")?;
    sys::close_inherited_on_exec()?;
    let _reserved = sys::reserve_low_descriptors()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    private_mounts()?;
    end_at(Instant::now() + Duration::from_secs(request.limit_s * LIMITS_A_CASE))?;
    if request.host_pids {
        // Otherwise we are process 1, and orphans come to us anyway.
        set_child_subreaper(true)?;
    } else {
        mount_proc()?;
    }
    world::build(&request)?;
    let facts = match Node::new(&request) {
        Ok(mut node) => {
            if let Err(error) = (case.play)(&mut node) {
                node.facts.ended_early = Some(format!("{error:#}"));
            } else {
                node.note_leftovers();
            }
            node.facts
        }
        Err(error) => Facts::early(&error),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &facts)?;
    Ok(out.flush()?)
}
