//! The agent's decisions, as pure functions: state in, commands out. Nothing here does IO.
//!
//! ```text
//! API   ─▶ resolve ───┐
//!                     ├─▶ Policy ─┐            ┌─▶ attach ──┐
//! files ─▶ manifests ─┘           ├─▶ targets ─┤            ├─▶ Desired ─▶ diff(Installed) ─▶ [Change]
//! netlink ─▶ facts, nics ─────────┘            └─▶ compile ─┘                  ▲                 │
//!                                                                              │ read back       ▼
//!                                                                              └───────────── kernel
//!
//! Targets, Desired, Installed, problems ─▶ node_state ─▶ XdpNodeState
//! ```
//!
//! One reconcile of the agent:
//!
//! 1. [`manifests::parse`] parses files, or [`resolve::SourceResolver`] resolves the policies of the API
//!    server;
//! 2. [`targets::targets`] matches policies, pods and the node's facts;
//! 3. [`attach`] decides which programs to attach, and what each target is ready for ([`facts::Deliveries`]);
//! 4. [`compile::Compiler::compile`] compiles the targets to tables; together these are [`desired::Desired`];
//! 5. [`diff::diff`] compares it with [`installed::Installed`]; the agent applies the changes
//!    ([`change::apply_in_order`]) and reads the kernel back, until no change is left. What the kernel
//!    refuses is excluded, and steps 3 to 5 repeat;
//! 6. [`node_state::node_state`] computes the node's status from what was read back.
#![forbid(unsafe_code)]

pub mod attach;
pub mod change;
pub mod compile;
pub mod connections;
pub mod desired;
pub mod diff;
pub mod drain;
pub mod explain;
pub mod facts;
pub mod fair;
pub mod hook;
pub mod installed;
pub mod manifests;
pub mod network_policy;
pub mod nics;
pub mod node_state;
pub mod owners;
pub mod permission;
pub mod programmed;
pub mod resolve;
pub mod shares;
pub mod targets;
#[cfg(feature = "testing")]
pub mod testing;

pub use xdp_crds::{pod, policy, report};
