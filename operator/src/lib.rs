//! The operator: resolves selectors of peers to addresses for the agents, and aggregates what the agents
//! report into one status per policy.
//!
//! ```text
//! watches ─▶ store ─▶ reconcile ─┬─▶ peers  ─▶ slices of XdpPeerSets
//!                                ├─▶ status ─▶ XdpPolicy status
//!                                └─▶ events ─▶ Events
//!  IO        pure      pure          pure        IO, by the leader only
//! ```
//!
//! What has to be written follows each change of the [`store`], and costs what the change concerns. All of it
//! can be built again from what the API server has: after a restart, only what differs is written.
//!
//! The election, and the answers to probes and scrapes, run on threads of their own, and wait for nothing
//! else.
#![forbid(unsafe_code)]

pub mod api;
pub mod args;
pub mod election;
pub mod events;
pub mod install;
pub mod metrics;
pub mod peers;
pub mod queue;
pub mod reconcile;
pub mod run;
pub mod status;
pub mod store;
pub mod uninstall;
pub mod watch;

/// The field manager of everything the operator applies, the name of its Lease, and the reporter of its
/// Events.
pub const MANAGER: &str = "xdp-operator";
