//! What can go wrong at the door to the kernel.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::maps::MapError;

/// The data path could not be loaded, adopted or read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not on a bpffs.
    #[error("`{path}` is not on a bpf file system; mount one with `mount -t bpf bpf /sys/fs/bpf`")]
    NotBpffs {
        /// The pin directory.
        path: PathBuf,
    },
    /// The caller may not do this.
    #[error(
        "no permission for {what}; run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN"
    )]
    Permission {
        /// For what.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the directory.
    #[error(
        "another agent works in `{path}`; stop it, or give this one a pin directory of its own with --pin-dir"
    )]
    Running {
        /// The pin directory.
        path: PathBuf,
    },
    /// Nothing is installed there.
    #[error("nothing is installed in `{path}`; start `xdp-agent run`, or name its directory with --pin-dir")]
    NotInstalled {
        /// The pin directory.
        path: PathBuf,
    },
    /// Something that is not the map it should be.
    #[error(
        "`{path}` {found}, but {expected} is expected; run `xdp-agent uninstall`, then start the agent again"
    )]
    Shape {
        /// The pin.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A file operation below the pin directory failed.
    #[error("cannot {what} `{path}`")]
    Pin {
        /// The operation.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The embedded object or one of its maps was refused.
    #[error("the kernel refused the maps of the data path (Linux 5.18 or newer is needed)")]
    Object(#[source] Box<aya::EbpfError>),
    /// A program is missing in the embedded object, or the kernel refused it.
    #[error("the kernel refused the program `{program}` (Linux 5.18 or newer is needed)")]
    Program {
        /// Its name.
        program: &'static str,
        /// The verifier's or aya's answer.
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
        /// aya's answer.
        #[source]
        source: Box<MapError>,
    },
    /// A table of flows could not be read or written.
    #[error("cannot access the table `{map}`")]
    Flows {
        /// The map.
        map: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A tracepoint could not be attached.
    #[error("cannot attach to the tracepoint `{tracepoint}`")]
    Tracepoint {
        /// Its name.
        tracepoint: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The grace period could not be awaited.
    #[error("cannot wait for running programs (membarrier)")]
    Fence(#[source] io::Error),
}

impl OpenError {
    /// A failed file operation; a refused permission is named as such.
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
#[error("cannot {step} on interface {ifindex}")]
pub struct AttachError {
    /// What was tried.
    pub step: AttachStep,
    /// The interface, by its index in its namespace.
    pub ifindex: u32,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl AttachError {
    /// The kernel's errno, 0 if it gave none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    pub(super) fn at(step: AttachStep, ifindex: u32) -> impl Fn(io::Error) -> Self {
        move |source| Self {
            step,
            ifindex,
            source,
        }
    }
}

/// Where an attachment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachStep {
    /// Loading it: the kernel's verifier says no.
    Load,
    /// Looking at an earlier attachment.
    Inspect,
    /// Entering the pod's network namespace.
    Enter,
    /// Creating the link: the driver or the kernel says no.
    Create,
    /// Exchanging the program.
    Update,
    /// Pinning the link.
    Pin,
    /// The link is not what was asked for.
    Verify,
    /// Taking the program off.
    Detach,
}

impl std::fmt::Display for AttachStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Load => "load the program",
            Self::Inspect => "inspect the earlier attachment",
            Self::Enter => "enter the network namespace",
            Self::Create => "attach the program",
            Self::Update => "exchange the program",
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
        /// aya's answer.
        #[source]
        source: Box<MapError>,
    },
    /// The device is gone, or the devmap refuses it.
    #[error("cannot enter interface {ifindex} in the devmap")]
    Device {
        /// The host's end.
        ifindex: u32,
        /// aya's answer.
        #[source]
        source: Box<aya::maps::xdp::XdpMapError>,
    },
    /// A label does not fit its table.
    #[error("label of {bytes} bytes, the limit is {limit}")]
    LabelTooLong {
        /// Its length.
        bytes: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The CPUs could not be counted.
    #[error("cannot count the CPUs")]
    Cpus(#[source] io::Error),
    /// There is no such element.
    #[error("cannot write element {index} of `{map}`")]
    Memory {
        /// The map.
        map: &'static str,
        /// The element.
        index: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The grace period could not be awaited.
    #[error("cannot wait for running programs (membarrier)")]
    Fence(#[source] io::Error),
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
