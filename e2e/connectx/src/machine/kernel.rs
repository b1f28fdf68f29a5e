//! A kernel that is ready to boot.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::KernelSeries;

/// The processor architecture of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64, pages of 4 KiB.
    Amd64,
    /// 64-bit Arm, pages of 16 KiB.
    Arm64,
}

impl Architecture {
    /// Returns Debian's name of the architecture.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Returns Debian's name of the kernel flavour: the full one, because the cloud flavour has neither igb
    /// nor 9p.
    pub(super) const fn flavour(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64-16k",
        }
    }

    /// Returns the Debian package that has the machine's QEMU.
    pub(super) const fn qemu_package(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86",
            Self::Arm64 => "qemu-system-arm",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kernel of Debian's archive, unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The series it was asked for by, as in `lts`.
    pub series: KernelSeries,
    /// The architecture.
    pub architecture: Architecture,
    /// The name that `uname -r` prints, as in `6.12.118+deb13-amd64`.
    pub release: String,
    /// The version of the Debian package, as in `6.12.118-1`.
    pub version: String,
    /// The image that QEMU loads.
    pub image: PathBuf,
    /// The folder with `modules.dep` and the modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// Returns the upstream version, as in `6.12.118`.
    pub fn upstream(&self) -> &str {
        let end = self.version.find(['-', '~', '+']).unwrap_or(self.version.len());
        &self.version[..end]
    }

    /// Returns the page size in bytes.
    pub const fn page_size(&self) -> usize {
        match self.architecture {
            Architecture::Amd64 => 4096,
            Architecture::Arm64 => 16384,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} ({})", self.upstream(), self.release)
    }
}
