//! CRI-O's part, played with two monitors: the same arguments, pipes, watches and clients, and what came of them.
//!
//! A case is a function that acts on a [`node::Node`] as CRI-O, kubelet or an administrator would. It notes facts, which must be
//! equal with both monitors, and of most of them it says what CRI-O needs, which must hold with each. A world is private as in
//! [`crate::world::keeper`], so paths are the same in every run and need no normalising.
//!
//! Source: `internal/oci/runtime_oci.go` of CRI-O, by its description in `docs/specification/callers.md`.

pub mod argv;
pub mod attach;
pub mod bundle;
pub mod case;
pub mod cases;
pub mod container;
pub mod exec;
pub mod exit;
pub mod facts;
pub mod launch;
pub mod log;
pub mod node;
pub mod player;
pub mod request;
pub mod spec;
pub mod systemd;
pub mod version;
pub mod watch;
pub mod world;
