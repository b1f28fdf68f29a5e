//! What the agent decides, without IO: policies and facts in, changes and reports out.
//!
//! ```text
//! XdpPolicy ─▶ Policy ─┐
//!                      ├─▶ compile ─▶ Desired ─▶ diff(Installed) ─▶ [Change]
//! netlink   ─▶ facts ──┘
//! ```
#![forbid(unsafe_code)]

pub mod change;
pub mod facts;
pub mod installed;
