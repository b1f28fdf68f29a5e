//! For tests: packets, the tables of one pod and of flows in memory, random rules, and an oracle that reads
//! them in the simplest way.

mod buffer;
mod facts;
mod fixture;
mod flow_memory;
mod model;
mod shape;
pub mod wire;

pub use buffer::FrameBuffer;
pub use facts::PacketFacts;
pub use fixture::{ClassColumns, FlatBounds, RuleFixture, VerdictSummary, look_up};
pub use flow_memory::FlowMemory;
pub use model::{NIC, NIC_MAC, PodModel, SLOT, stations};
pub use shape::{POD, POD_V6, PacketShape};
