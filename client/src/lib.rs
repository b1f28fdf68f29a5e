//! What the operator and the agent share: access to the API server, and the set-up of a process.
//!
//! ```text
//! API server ─▶ watch ─▶ store ─▶ the reconcile loop ─▶ apply ─▶ API server
//!                                        │
//!                          health, metrics ─▶ serve ─▶ probes, Prometheus
//! ```
#![forbid(unsafe_code)]

pub mod apply;
pub mod backoff;
mod connect;
pub mod discovery;
mod error;
pub mod health;
pub mod metrics;
pub mod object;
pub mod process;
pub mod serve;
mod store;
#[cfg(test)]
mod testing;
pub mod watch;

pub use connect::{ConnectError, connect};
pub use error::{error_chain, is_status};
pub use store::{Observed, Store};
