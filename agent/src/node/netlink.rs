//! What the kernel says about interfaces, by netlink alone: no sysfs, no path convention of any CNI.
//!
//! Everything here speaks for the network namespace of the calling thread. Needs Linux 5.0
//! (`NETLINK_GET_STRICT_CHK`, `IFA_TARGET_NETNSID`) and, for [`Monitor`], `CAP_NET_BROADCAST`.

use std::io;

use netlink_packet_core::DecodeError;

pub(crate) mod client;
mod facts;
mod filter;
pub mod genl;
mod link;
mod monitor;

pub use facts::facts;
pub use filter::{TcFilter, clsact_filters};
pub use link::{HostLink, XdpMode, XdpState, host_links};
pub use monitor::Monitor;

/// A question the kernel did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself failed.
    #[error("netlink socket: `{step}` failed")]
    Socket {
        /// System call or option.
        step: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("the kernel refused `{request}`")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Its errno.
        #[source]
        source: io::Error,
    },
    /// The answer does not follow the protocol.
    #[error("the kernel's answer to `{request}` cannot be read")]
    Malformed {
        /// What was asked.
        request: &'static str,
        /// Where reading stopped.
        #[source]
        source: DecodeError,
    },
    /// The kernel's list changed under every attempt to read it.
    #[error("`{request}` changed while it was read, {attempts} times in a row")]
    Unstable {
        /// What was asked.
        request: &'static str,
        /// How often.
        attempts: u32,
    },
}

impl NetlinkError {
    /// The kernel's errno, if it is one of the kernel's answers.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Malformed { .. } | Self::Unstable { .. } => None,
        }
    }
}
