//! How a request can fail.

use std::io;

use netlink_packet_core::DecodeError;

/// A netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A socket operation failed.
    #[error("netlink socket: `{step}` failed")]
    Socket {
        /// System call or option.
        step: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel returned an error.
    #[error("the kernel refused `{request}`")]
    Refused {
        /// The request.
        request: &'static str,
        /// Its errno.
        #[source]
        source: io::Error,
    },
    /// The reply does not follow the protocol.
    #[error("cannot decode the kernel's reply to `{request}`")]
    Malformed {
        /// The request.
        request: &'static str,
        /// The decoding error.
        #[source]
        source: DecodeError,
    },
    /// The kernel's list changed under every attempt to read it.
    #[error("`{request}` changed while it was read, {attempts} times in a row")]
    Unstable {
        /// The request.
        request: &'static str,
        /// Number of attempts.
        attempts: u32,
    },
}

impl NetlinkError {
    /// Returns the kernel's errno, if the kernel or a socket operation returned one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Malformed { .. } | Self::Unstable { .. } => None,
        }
    }
}
