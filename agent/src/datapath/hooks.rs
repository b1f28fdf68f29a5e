//! Programs at hooks: XDP on NICs, classifiers on NICs and pods' interfaces, tracepoints.

mod apply;
mod attach;
pub(in crate::datapath) mod classifier;
pub(in crate::datapath) mod link;
mod nic;
pub(in crate::datapath) mod read;
pub(in crate::datapath) mod reader;
pub(in crate::datapath) mod tracepoint;
