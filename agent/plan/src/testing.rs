//! For tests: the oracle, and generators of policies, pods and packets.
//!
//! Nothing here uses what it judges: networks, selectors and the order of policies are read anew from the API types.

pub mod edges;
pub mod node;
pub mod objects;
pub mod oracle;
pub mod packets;
pub mod workload;
