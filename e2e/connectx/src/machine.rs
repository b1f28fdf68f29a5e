//! Virtual machines that run Debian's own kernels under QEMU, without KVM and without installing anything.
//!
//! [`MachineFiles`] is the folder with QEMU and the kernels, which `make machines` fills. [`Machine`] boots
//! one of them with [cards](crate::Card) or QEMU's own network devices, mounts the host's root read-only in
//! it, and runs one command there.

mod apt_root;
mod archive;
mod cpio;
mod error;
mod fetch;
mod fetch_kernel;
mod files;
mod guest;
mod initramfs;
mod journal;
mod kernel;
mod modules;
mod process;
mod qemu;
mod qmp;
mod run_directory;
mod series;
mod setup;

pub use apt_root::ArchiveError;
pub use error::MachineError;
pub use fetch::{FetchError, FetchReport, fetch};
pub use files::{FilesError, MachineFiles};
pub use guest::{CommandResult, Machine, MachineLimits, MachineProgress};
pub use kernel::{Architecture, Kernel};
pub use modules::{MODULES, NoModule};
pub use qemu::QemuNic;
pub use qmp::{Qmp, QmpError};
pub use series::{KernelSeries, SeriesError};
pub use setup::MachineBuilder;
