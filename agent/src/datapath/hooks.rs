//! Programs at hooks: XDP on NICs, classifiers on NICs and pods' interfaces, tracepoints.

pub(in crate::datapath) mod classifier;
pub(in crate::datapath) mod link;
mod nic;
mod peer;
pub(in crate::datapath) mod reader;
pub(in crate::datapath) mod reply;
pub(in crate::datapath) mod tracepoint;
