//! For tests: the oracle, a model of the kernel's tables, and generators of policies, pods and packets.
//!
//! The oracle does not use the code that it judges: it reads networks, selectors and the order of policies
//! from the API types again.

pub mod edges;
pub mod fixture;
pub mod model;
pub mod node;
pub mod objects;
pub mod oracle;
pub mod packets;
pub mod workload;
