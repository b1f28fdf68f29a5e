//! The folder with QEMU and the kernels.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Architecture, Kernel, KernelSeries};

/// The folder that `make machines` fills: `.tools/machines` of the project.
///
/// ```text
/// qemu/                    QEMU and what it needs, busybox, kmod, xz, zstd; ARCHITECTURE.json: its version
/// kernels/SERIES-ARCH/     vmlinuz, modules/RELEASE/, kernel.json; or SERIES-ARCH.json: why there is none
/// initramfs/               made at the first boot of a kernel
/// root-arm64/              the root of arm64 guests
/// ```
#[derive(Clone, Debug)]
pub struct MachineFiles {
    root: PathBuf,
}

/// Something is missing in the folder.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The archive has no such kernel, which the fetch recorded.
    #[error("kernel {series} for {architecture}: {reason}")]
    Skipped {
        /// The series.
        series: KernelSeries,
        /// The architecture.
        architecture: Architecture,
        /// Why there is none.
        reason: String,
    },
    /// It was never fetched.
    #[error("`{}` is missing; run: make machines", path.display())]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl FilesError {
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl MachineFiles {
    /// Returns the folder of the source tree that this crate was built from.
    pub fn of_project() -> Self {
        Self::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/machines"))
    }

    /// Returns a folder by its path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // A path without symbolic links and `..` is also valid in the guest.
        Self {
            root: root.canonicalize().unwrap_or(root),
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Returns a kernel.
    ///
    /// # Errors
    /// [`FilesError::Skipped`] if the archive has none: a test then reports the series as skipped.
    pub fn kernel(&self, series: KernelSeries, architecture: Architecture) -> Result<Kernel, FilesError> {
        let folder = self.kernel_folder(series, architecture);
        if let Some(mut kernel) = read_json::<Kernel>(&folder.join("kernel.json"))? {
            kernel.image = folder.join(kernel.image);
            kernel.modules = folder.join(kernel.modules);
            return Ok(kernel);
        }
        match read_json(&self.skip_record(series, architecture))? {
            Some(reason) => Err(FilesError::Skipped {
                series,
                architecture,
                reason,
            }),
            None => Err(FilesError::Missing { path: folder }),
        }
    }

    /// Returns the version of the QEMU for an architecture, as Debian writes it.
    pub fn qemu_version(&self, architecture: Architecture) -> Result<String, FilesError> {
        let path = self.qemu_record(architecture);
        read_json(&path)?.ok_or(FilesError::Missing { path })
    }

    /// Returns the root of a guest that cannot have the host's, because its architecture is another one.
    pub(super) fn guest_root(&self, architecture: Architecture) -> Option<PathBuf> {
        match architecture {
            Architecture::Amd64 => None,
            Architecture::Arm64 => Some(self.root.join("root-arm64")),
        }
    }

    /// Returns a static busybox.
    pub(super) fn busybox(&self, architecture: Architecture) -> PathBuf {
        let tree = self.guest_root(architecture).unwrap_or_else(|| self.qemu_tree());
        tree.join("usr/bin/busybox")
    }

    /// Returns a command that runs a program of the QEMU tree with the libraries of that tree.
    ///
    /// `name` is the name that the program sees as its own.
    pub(super) fn program(&self, path: &str, name: &str) -> Command {
        let tree = self.qemu_tree();
        let mut command = Command::new(tree.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(tree.join("usr/lib/x86_64-linux-gnu"))
            .args(["--argv0", name])
            .arg(tree.join(path));
        command
    }

    /// Returns a command that runs QEMU.
    pub(super) fn qemu(&self, architecture: Architecture) -> Command {
        let name = match architecture {
            Architecture::Amd64 => "qemu-system-x86_64",
            Architecture::Arm64 => "qemu-system-aarch64",
        };
        let mut command = self.program(&format!("usr/bin/{name}"), name);
        for share in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.qemu_tree().join(share));
        }
        command
    }

    pub(super) fn qemu_tree(&self) -> PathBuf {
        self.root.join("qemu")
    }

    pub(super) fn qemu_record(&self, architecture: Architecture) -> PathBuf {
        self.qemu_tree().join(format!("{architecture}.json"))
    }

    pub(super) fn kernel_folder(&self, series: KernelSeries, architecture: Architecture) -> PathBuf {
        self.root.join(format!("kernels/{series}-{architecture}"))
    }

    pub(super) fn skip_record(&self, series: KernelSeries, architecture: Architecture) -> PathBuf {
        self.root.join(format!("kernels/{series}-{architecture}.json"))
    }
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FilesError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| FilesError::file("parse", path)(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FilesError::file("read", path)(error)),
    }
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FilesError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| FilesError::file("write", path)(error.into()))?;
    fs::write(path, text).map_err(FilesError::file("write", path))
}

/// Removes a file, a symbolic link or a folder, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), FilesError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FilesError::file("remove", path)(error)),
        _ => Ok(()),
    }
}
