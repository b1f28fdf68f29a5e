//! Errors of the data path.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::maps::MapError;
use xdp_plan::facts::NotReady;

use crate::node::{netlink::NetlinkError, netns::NetnsError};

/// The data path could not be loaded, adopted or read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The pin directory is not on a bpffs.
    #[error(
        "`{path}` is not on a bpf file system; mount one with `mount -t bpf -o mode=0700 bpf /sys/fs/bpf`"
    )]
    NotBpffs {
        /// The pin directory.
        path: PathBuf,
    },
    /// The process lacks capabilities.
    #[error(
        "no permission to {what}; run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN"
    )]
    Permission {
        /// The operation.
        what: String,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the lock of the directory.
    #[error("another agent works in `{path}`; stop it, or choose another pin directory with --pin-dir")]
    Running {
        /// The pin directory.
        path: PathBuf,
    },
    /// No agent has installed anything there.
    #[error(
        "nothing is installed in `{path}`; start `xdp-agent run`, or name its pin directory with --pin-dir"
    )]
    NotInstalled {
        /// The pin directory.
        path: PathBuf,
    },
    /// A pin is not the expected map.
    #[error(
        "`{path}` {found}, but {expected} is expected; run `xdp-agent uninstall`, then start the agent again"
    )]
    Shape {
        /// The pin.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A file operation below the pin directory failed.
    #[error("cannot {what} `{path}`")]
    Pin {
        /// The operation.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the embedded object or one of its maps.
    #[error("the kernel refused the maps of the data path (Linux 5.18 or newer is needed)")]
    Object(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refused the program `{program}` (Linux 5.18 or newer is needed)")]
    Program {
        /// Its name.
        program: &'static str,
        /// The verifier's or aya's error.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The embedded object lacks a program.
    #[error("the embedded object has no program `{program}`; build the agent again")]
    MissingProgram {
        /// Its name.
        program: &'static str,
    },
    /// A table could not be read or written.
    #[error("cannot access the table `{map}`")]
    Table {
        /// The map.
        map: &'static str,
        /// aya's error.
        #[source]
        source: Box<MapError>,
    },
    /// A flow table could not be read or written.
    #[error("cannot access the flow table `{map}`")]
    Flows {
        /// The map.
        map: &'static str,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// A tracepoint could not be attached.
    #[error("cannot attach to the tracepoint `{tracepoint}`")]
    Tracepoint {
        /// Its name.
        tracepoint: &'static str,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The grace period could not be awaited.
    #[error("cannot wait for running programs (membarrier)")]
    Fence(#[source] io::Error),
}

impl OpenError {
    /// Wraps the error of a file operation. A missing permission becomes [`OpenError::Permission`].
    pub(super) fn pin(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission {
                what: format!("{what} `{}`", path.display()),
                source,
            },
            _ => Self::Pin { what, path, source },
        }
    }

    pub(super) fn table(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Table {
            map,
            source: Box::new(source),
        }
    }
}

/// A program could not be attached to an interface.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} on interface {ifindex}{}", said(kernel_text))]
pub struct AttachError {
    /// The step that failed.
    pub step: AttachStep,
    /// The interface, by its index in its namespace.
    pub ifindex: u32,
    /// What the kernel says about it, empty if nothing is known: its extack, or lines of its log.
    pub kernel_text: String,
    /// The kernel's error.
    #[source]
    pub source: io::Error,
}

fn said(kernel_text: &str) -> String {
    if kernel_text.is_empty() {
        return String::new();
    }
    format!(" (the kernel says: {kernel_text})")
}

impl AttachError {
    /// Returns the kernel's errno, or 0 if there is none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    pub(super) fn at(step: AttachStep, ifindex: u32) -> impl Fn(io::Error) -> Self {
        move |source| Self {
            step,
            ifindex,
            kernel_text: String::new(),
            source,
        }
    }
}

/// The step at which an attachment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachStep {
    /// Loading the program: the verifier refused it.
    Load,
    /// Inspecting an earlier attachment.
    Inspect,
    /// Entering the pod's network namespace.
    Enter,
    /// Creating the link: the driver or the kernel refused it.
    Create,
    /// Replacing the program.
    Update,
    /// Moving the program in front of those of other owners.
    Move,
    /// Pinning the link.
    Pin,
    /// Verifying the link: it is not what was requested.
    Verify,
    /// Detaching the program.
    Detach,
}

impl std::fmt::Display for AttachStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Load => "load the program",
            Self::Inspect => "inspect the earlier attachment",
            Self::Enter => "enter the network namespace",
            Self::Create => "attach the program",
            Self::Update => "replace the program",
            Self::Move => "move the program in front of the others",
            Self::Pin => "pin the attachment",
            Self::Verify => "verify the attachment",
            Self::Detach => "detach the program",
        })
    }
}

/// A change could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused an access to a table.
    #[error("cannot write `{map}`")]
    Table {
        /// The map.
        map: &'static str,
        /// aya's error.
        #[source]
        source: Box<MapError>,
    },
    /// The device is gone, or the devmap refuses it.
    #[error("cannot write interface {ifindex} to the devmap")]
    Device {
        /// The host-side interface.
        ifindex: u32,
        /// aya's error.
        #[source]
        source: Box<aya::maps::xdp::XdpMapError>,
    },
    /// A label does not fit its table.
    #[error("a label of {bytes} bytes exceeds the limit of {limit} bytes")]
    LabelTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The CPUs could not be counted.
    #[error("cannot count the CPUs")]
    Cpus(#[source] io::Error),
    /// An element of a mapped table could not be written.
    #[error("cannot write element {index} of `{map}`")]
    Memory {
        /// The map.
        map: &'static str,
        /// The element.
        index: u32,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The grace period could not be awaited.
    #[error("cannot wait for running programs (membarrier)")]
    Fence(#[source] io::Error),
    /// A program could not be attached or detached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A pod's namespace could not be entered.
    #[error(transparent)]
    Namespace(NetnsError),
    /// The pod's sockets, or the entries of connection tracking, could not be listed.
    #[error("cannot list the connections of the pod")]
    Connections(#[source] Arc<NetlinkError>),
    /// GRO of a pod could not be switched on.
    #[error("{message}")]
    Gro {
        /// Which step failed.
        reason: NotReady,
        /// Why.
        message: String,
    },
    /// Flows or a pin could not be read or written.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ApplyError {
    pub(super) fn memory(map: &'static str, index: u32) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Memory { map, index, source }
    }

    pub(super) fn table(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Table {
            map,
            source: Box::new(source),
        }
    }
}
