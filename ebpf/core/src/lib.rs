//! The logic of the data path, without IO and without `std`.
//!
//! The kernel program, the host tests and the agent all compile this crate: what is decided about a packet is
//! written once.
#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "the verifier forgets what it knew about packet bounds at a call, so the packet path is one function"
)]

pub mod btf;
pub mod explain;
pub mod flows;
pub mod limits;
pub mod metadata;
pub mod parse;
pub mod reject;
pub mod tables;
pub mod verdict;
