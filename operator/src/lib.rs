//! The operator: gives the agents the addresses behind selector peers, and users one status per policy.
//!
//! ```text
//! watches ─▶ World ─┬─▶ peers    ─▶ [Step]  ─▶ XdpPeerSets
//!                   ├─▶ status   ─▶ [Write] ─▶ XdpPolicy status
//!                   └─▶ announce ─▶ [Note]  ─▶ Events
//!  IO       pure          pure                  IO, by the leader only
//! ```
//!
//! One loop, driven by levels: any change makes a round due, a round looks at the whole [`world`] and does what is
//! missing. Nothing is remembered that could not be read again, except when a write may be tried next.
#![forbid(unsafe_code)]

pub mod announce;
pub mod api;
pub mod args;
pub mod debounce;
pub mod election;
pub mod install;
pub mod metrics;
pub mod peers;
pub mod round;
pub mod run;
pub mod select;
pub mod status;
pub mod uninstall;
pub mod watch;
pub mod world;

/// Field manager of everything the operator applies, name of its Lease, and what it reports Events as.
pub const MANAGER: &str = "xdp-operator";
