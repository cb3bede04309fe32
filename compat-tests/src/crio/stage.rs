//! The processes between the table and a node: the keeper of [`crate::stage`], and our own player.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use serde::{Deserialize, Serialize};

use super::case;
use super::facts::Facts;
use super::node::Node;
use super::world;
use crate::scenario::RuntimeKind;
use crate::stage::{Fault, Tools};
use crate::{stage, sys};

/// The most a case may take, in limits of a single wait.
const LIMITS_A_CASE: u64 = 8;

/// All a player needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub case: String,
    pub runtime: RuntimeKind,
    pub monitor: PathBuf,
    pub tools: Tools,
    pub fault: Option<Fault>,
    /// Seconds a single wait may take.
    pub limit_s: u64,
    /// The node is in the host's pid namespace and sees its systemd. The keeper knows this key.
    pub host_pids: bool,
    /// Filled in by the keeper.
    pub cgroup: String,
}

/// The player's life: make the node, play, print what was seen.
///
/// # Errors
///
/// What the world lacked; whatever a monitor does is a fact.
pub fn play() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let case = case::all().into_iter().find(|case| case.id() == request.case);
    let case = case.context("no such case")?;
    sys::close_inherited_on_exec()?;
    let _reserved = sys::reserve_low_descriptors()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    stage::private_mounts()?;
    stage::end_at(Instant::now() + Duration::from_secs(request.limit_s * LIMITS_A_CASE));
    if request.host_pids {
        // Otherwise we are process 1, and orphans come to us anyway.
        set_child_subreaper(true)?;
    } else {
        stage::mount_proc()?;
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
