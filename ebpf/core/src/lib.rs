//! The logic of the data path, without IO and without `std`.
//!
//! The kernel program, the host tests and the agent all compile this crate: what is decided about a packet is
//! written once.
#![no_std]
#![forbid(unsafe_code)]

pub mod tables;
