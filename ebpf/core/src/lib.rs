//! The logic of the data path, without IO and without `std`.
//!
//! The eBPF programs, the agent's `explain`, the tests and the fuzzer compile this crate, so the decision
//! about a packet is written once. Modules use only modules to their left, or above them:
//!
//! ```text
//!  tables ─┐          ┌─▶ frames ───────────────────┐
//!  events ─┴▶ parse ──┴▶ flows ─▶ key ─▶ reject ─▶ verdict ─┬▶ limits
//!  metadata ────────────────────────────────────────┘       └▶ explain
//! ```
//!
//! [`tables`], [`events`] and [`metadata`] are the contract with user space. [`parse`] reads a packet,
//! [`frames`] decides whether the stack would take it, [`sources`] whether its source can be trusted,
//! [`flows`] tracks connections, [`key`] is what rules match, [`reject`] makes answers, and [`verdict`]
//! decides. [`limits`] applies rate limits to a verdict, and [`explain`] encodes it for the agent. [`btf`] is
//! for the agent only.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]
#![expect(
    clippy::inline_always,
    reason = "the verifier loses the bounds of packets at a call, so the packet path is one function"
)]

#[cfg(feature = "testing")]
extern crate std;

pub mod btf;
pub mod events;
pub mod explain;
pub mod flows;
pub mod frames;
pub mod key;
pub mod limits;
pub mod metadata;
pub mod parse;
pub mod reject;
pub mod sources;
pub mod tables;
#[cfg(feature = "testing")]
pub mod testing;
pub mod verdict;
