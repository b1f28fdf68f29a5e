//! What the agent decides, without IO: policies and facts in, changes and reports out.
//!
//! ```text
//! files     ─▶ manifests ─▶ Policy, Pod ─┐
//! API       ─▶ peers     ─▶ Policy, Pod ─┤
//!                                        ├─▶ targets ─▶ compile ─▶ Desired ─▶ diff(Installed) ─▶ [Change]
//! netlink   ─▶ facts ────────────────────┘      └─▶ the agent prepares the pods' interfaces ─▶ Readiness
//! ```
//!
//! One round of the agent:
//!
//! 1. [`manifests::parse`] every file → policies, pods, errors;
//! 2. [`targets::targets`] with the node's facts → targets, problems;
//! 3. make each target with `wants_redirect` or `wants_peer` ready → [`facts::Deliveries`] by the host's ifindex;
//! 4. [`compile::Compiler::compile`] → what is desired, problems;
//! 5. [`diff::diff`] against what was read back → changes; apply them; read back again. Empty: the round is over;
//! 6. [`node_state::node_state`] from what was read back → the node's status, in a cluster.
#![forbid(unsafe_code)]

pub mod change;
pub mod compile;
pub mod diff;
pub mod drain;
pub mod explain;
pub mod facts;
pub mod hook;
pub mod installed;
pub mod manifests;
pub mod node_state;
pub mod owners;
pub mod programmed;
pub mod resolve;
pub mod targets;
#[cfg(feature = "testing")]
pub mod testing;

pub use xdp_crds::{pod, policy, report};
