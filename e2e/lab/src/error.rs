//! The lab's errors.

use std::{io, path::PathBuf, time::Duration};

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The lab's directory, mounts or lock failed.
    #[error(
        "the lab cannot {action} `{path}`; run as root, with a /run on which file systems can be mounted"
    )]
    Home {
        /// The action that failed.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The guard process cannot be started.
    #[error("cannot start the guard process, which removes the lab when this process dies")]
    Guard {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The name is in use.
    #[error("the lab has a namespace `{namespace}` already; choose another name")]
    Duplicate {
        /// The name.
        namespace: String,
    },
    /// The name is not a file name.
    #[error("`{namespace}` cannot be a namespace's name; use letters, digits and dashes")]
    Name {
        /// The name.
        namespace: String,
    },
    /// A namespace cannot be created or entered.
    #[error("the lab cannot {action} the namespace `{namespace}`; was its lab or its pod removed?")]
    Namespace {
        /// The action that failed.
        action: &'static str,
        /// The namespace.
        namespace: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("the kernel refused to {request} in namespace `{namespace}`")]
    Netlink {
        /// The namespace.
        namespace: String,
        /// The request.
        request: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer cannot be parsed.
    #[error("cannot parse the kernel's answer in namespace `{namespace}`: {request}")]
    Malformed {
        /// The namespace.
        namespace: String,
        /// The request.
        request: String,
    },
    /// A sysctl cannot be set.
    #[error("`{key}` in namespace `{namespace}` cannot be set to {value}")]
    Sysctl {
        /// The namespace.
        namespace: String,
        /// Below `/proc/sys`.
        key: String,
        /// The value.
        value: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An offload of an interface cannot be read or set.
    #[error("{request} of `{interface}` in namespace `{namespace}` failed")]
    Ethtool {
        /// The namespace.
        namespace: String,
        /// The interface.
        interface: String,
        /// The request.
        request: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A socket in a namespace failed.
    #[error("the socket in namespace `{namespace}` cannot {action}")]
    Socket {
        /// The namespace.
        namespace: String,
        /// The action that failed.
        action: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A process cannot be started, signalled or waited for.
    #[error("the lab cannot {action} `{program}`")]
    Process {
        /// The action that failed.
        action: &'static str,
        /// The program.
        program: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An HTTP answer is not that of an [`HttpServer`](crate::HttpServer).
    #[error("{peer} is not the lab's HTTP server: it answered `{answer}`")]
    Answer {
        /// The server.
        peer: String,
        /// The answer.
        answer: String,
    },
    /// A condition did not become true in time.
    #[error("timed out after {waited:?} waiting until {what}")]
    Timeout {
        /// The condition.
        what: String,
        /// The time spent waiting.
        waited: Duration,
    },
}
