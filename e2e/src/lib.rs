//! Tests across processes, and the demo: the agent as its users run it, on a lab's node.

mod agent;
pub mod demo;
pub mod installed;
mod manifests;
mod status;

pub use agent::Agent;
pub use manifests::Manifests;
pub use status::{FIELDS, Status};
