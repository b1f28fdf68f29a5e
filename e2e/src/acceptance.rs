//! The acceptance of a NIC: the agent on a node with this NIC, pods, and a peer at the other end of its wire.
//!
//! It runs on the machine that has the NIC. The peer is another machine ([`PeerServer`]), or the host of a
//! virtual machine. Each check is a named fact with an outcome, and a failed one does not stop the others.

mod checks;
mod connection;
mod frames;
mod host;
mod page;
pub mod peer;
mod probe;
pub mod protocol;
mod report;
mod site;

use std::{fmt, path::PathBuf};

pub use self::{
    checks::run,
    connection::PeerConnection,
    host::{NicId, nic_name},
    page::page,
    peer::{CardControl, PeerServer},
    report::{AcceptanceReport, Check, Outcome},
};

/// The settings of a run.
#[derive(Clone, Debug, Default)]
pub struct AcceptanceOptions {
    /// The NIC, of the calling thread's network namespace. `None`: a veth pair whose other end is the peer.
    pub nic: Option<NicId>,
    /// The agent's binary, instead of the one next to this program.
    pub agent: Option<PathBuf>,
    /// Runs only the checks whose name contains one of these; empty: all.
    pub only: Vec<String>,
}

/// The reason why a check does not apply here.
#[derive(Debug)]
struct NotApplicable(String);

impl fmt::Display for NotApplicable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NotApplicable {}

/// An error that makes the outcome of a check "not applicable".
fn not_applicable(why: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(NotApplicable(why.into()))
}
