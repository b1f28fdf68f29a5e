//! What can go wrong in a lab.

use std::{io, path::PathBuf, time::Duration};

/// Why the lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The lab's own directory, mounts or lock.
    #[error(
        "the lab cannot {action} `{path}`; it takes root, and a /run on which file systems can be mounted"
    )]
    Home {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The process that cleans up after this one.
    #[error("the guard that cleans up after this process cannot be started")]
    Guard {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A second namespace of the same name.
    #[error("the lab has a namespace `{namespace}` already; choose another name")]
    Duplicate {
        /// The name.
        namespace: String,
    },
    /// A name that cannot be a file's.
    #[error("`{namespace}` cannot be a namespace's name; use letters, digits and dashes")]
    Name {
        /// The name.
        namespace: String,
    },
    /// A namespace that was not made or entered.
    #[error(
        "the lab cannot {action} the namespace `{namespace}`; is the lab (or the pod) it belonged to gone?"
    )]
    Namespace {
        /// What was tried.
        action: &'static str,
        /// The namespace.
        namespace: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("the kernel refused in namespace `{namespace}`: {request}")]
    Netlink {
        /// The namespace.
        namespace: String,
        /// What was asked for.
        request: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer was not understood.
    #[error("the kernel's answer in namespace `{namespace}` cannot be read: {request}")]
    Malformed {
        /// The namespace.
        namespace: String,
        /// What was asked for.
        request: String,
    },
    /// A kernel setting.
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
    /// An offload of an interface.
    #[error("{request} of `{interface}` in namespace `{namespace}` failed")]
    Ethtool {
        /// The namespace.
        namespace: String,
        /// The interface.
        interface: String,
        /// What was asked for.
        request: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A socket of a traffic helper.
    #[error("the socket in namespace `{namespace}` cannot {action}")]
    Socket {
        /// The namespace.
        namespace: String,
        /// What was tried.
        action: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A process of the lab.
    #[error("the lab cannot {action} `{program}`")]
    Process {
        /// What was tried.
        action: &'static str,
        /// The program.
        program: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An answer that is none.
    #[error("{peer} did not answer as a pod's HTTP server does: `{answer}`")]
    Answer {
        /// Who was asked.
        peer: String,
        /// What came back.
        answer: String,
    },
    /// A condition that did not come true.
    #[error("{what}: still not so after {waited:?}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long was waited.
        waited: Duration,
    },
}
