//! Helpers of the end-to-end tests, and the demo: the agent's process on a lab's node, and a cluster with the
//! chart; the acceptance of a NIC; and the comparison with the stack.
#![expect(clippy::print_stdout, reason = "a helper prints what a test waits for")]

pub mod acceptance;
mod agent;
pub mod conformance;
pub mod demo;
mod idle;
pub mod installed;
mod manifests;
mod random;
pub mod seccomp;
pub mod simulated;
pub mod stack;
mod status;

pub use agent::{Agent, METRICS_PORT, make_pins_older};
pub use idle::IdleConnections;
pub use manifests::ManifestFolder;
pub use random::Random;
pub use status::{FIELDS, Status};
