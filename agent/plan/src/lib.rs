//! The agent's decisions, as pure functions: state in, commands out. Nothing here does IO.
//!
//! ```text
//! API   ─▶ resolve ───┐
//!                     ├─▶ Policy ─┐
//! files ─▶ manifests ─┘           ├─▶ targets ─▶ compile ─▶ Desired ─▶ diff(Installed) ─▶ [Change]
//! netlink ─────────────▶ facts ───┘                                        ▲                 │
//!                                                                          │ read back       ▼
//!                                                                          └───────────── kernel
//!
//! Targets, Desired, Installed, problems ─▶ node_state ─▶ XdpNodeState
//! ```
//!
//! One reconcile of the agent:
//!
//! 1. [`manifests::parse`] parses files, or [`resolve::SourceResolver`] resolves the policies of the API
//!    server;
//! 2. [`targets::targets`] matches policies, pods and the node's facts;
//! 3. the agent prepares the interfaces of targets that want a delivery, which gives [`facts::Deliveries`];
//! 4. [`compile::Compiler::compile`] compiles the targets to [`compile::Desired`];
//! 5. [`diff::diff`] compares it with [`installed::Installed`]; the agent applies the changes and reads the
//!    tables back, until no change is left;
//! 6. [`node_state::node_state`] computes the node's status from what was read back.
#![forbid(unsafe_code)]

pub mod attach;
pub mod change;
pub mod compile;
pub mod desired;
pub mod diff;
pub mod drain;
pub mod explain;
pub mod facts;
pub mod hook;
pub mod installed;
pub mod manifests;
pub mod nics;
pub mod node_state;
pub mod owners;
pub mod programmed;
pub mod resolve;
pub mod targets;
#[cfg(feature = "testing")]
pub mod testing;

pub use xdp_crds::{pod, policy, report};
