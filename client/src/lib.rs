//! What the operator and the agent share: access to the API server, and the set-up of a process.
#![forbid(unsafe_code)]

mod error;

pub use error::error_chain;
