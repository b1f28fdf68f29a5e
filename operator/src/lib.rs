//! The operator: resolves selectors of peers to addresses for the agents, and aggregates what the agents
//! report into one status per policy.
//!
//! ```text
//! watches ─▶ store ─┬─▶ peers  ─▶ [Step]        ─▶ XdpPeerSets
//!                   ├─▶ status ─▶ [StatusWrite] ─▶ XdpPolicy status
//!                   └─▶ events ─▶ [EventDraft]  ─▶ Events
//!  IO       pure         pure                       IO, by the leader only
//! ```
//!
//! One level-triggered loop: each change makes a reconcile due, and a reconcile compares the whole [`store`]
//! with what should exist. The operator remembers nothing that it could not read again, except when it may
//! retry a write.
#![forbid(unsafe_code)]

pub mod api;
pub mod args;
pub mod debounce;
pub mod election;
pub mod events;
pub mod install;
pub mod metrics;
pub mod peers;
pub mod reconcile;
pub mod run;
pub mod select;
pub mod status;
pub mod store;
pub mod uninstall;
pub mod watch;

/// The field manager of everything the operator applies, the name of its Lease, and the reporter of its
/// Events.
pub const MANAGER: &str = "xdp-operator";
