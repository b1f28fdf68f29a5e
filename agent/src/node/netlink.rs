//! Reads interfaces by netlink alone: no sysfs, no path convention of any CNI.
//!
//! All functions refer to the network namespace of the calling thread. They need Linux 5.0
//! (`NETLINK_GET_STRICT_CHK`, `IFA_TARGET_NETNSID`) and, for [`Monitor`], `CAP_NET_BROADCAST`.

mod address;
mod bridge;
pub(crate) mod client;
pub(crate) mod conntrack;
mod error;
pub mod ethnl;
mod facts;
mod filter;
pub mod genl;
mod link;
mod link_info;
mod monitor;
mod netconf;
mod networks;
mod reply;
mod route;
pub(crate) mod sockets;
#[cfg(test)]
mod tests;
mod tunnel;
mod xdp;

pub use error::NetlinkError;
pub use facts::{FactsReader, facts};
pub use filter::{TcFilter, clsact_filters};
pub use link::host_links;
pub use monitor::{Interests, Monitor};
pub use netconf::{ReversePathFilters, rp_filters};
pub(crate) use networks::with_networks;
pub(crate) use route::output_interface;
