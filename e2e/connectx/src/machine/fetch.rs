//! Fills the folder of [`MachineFiles`] from Debian's archive.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    Architecture, ArchiveError, FilesError, Kernel, KernelSeries, MachineFiles, SeriesError,
    archive::{Archive, BACKPORTS},
    files::{read_json, remove, write_json},
    series::choose,
};

/// What the host side needs in addition to QEMU.
const HOST_PACKAGES: [&str; 4] = ["busybox-static", "kmod", "xz-utils", "zstd"];
/// The root of a guest that cannot have the host's.
const GUEST_PACKAGES: [&str; 12] = [
    "base-files",
    "busybox-static",
    "bash",
    "coreutils",
    "dash",
    "libc-bin",
    "grep",
    "sed",
    "util-linux",
    "iproute2",
    "ethtool",
    "bpftool",
];
const GUEST_SUITE: &str = "trixie";
/// Lists the packages that the root of a guest has.
const GUEST_RECORD: &str = "packages.json";

/// The folder cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The folder cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A package is not as expected.
    #[error("the package `{package}` has no {what}")]
    Package {
        /// The package.
        package: String,
        /// What it should contain.
        what: &'static str,
    },
    /// The index of the kernel's modules cannot be made.
    #[error("depmod failed for {release}: {output}")]
    Depmod {
        /// The kernel.
        release: String,
        /// What depmod printed.
        output: String,
    },
}

/// What is in the folder after a fetch.
#[derive(Debug)]
pub struct FetchReport {
    /// The version of QEMU.
    pub qemu: String,
    /// The kernels.
    pub kernels: Vec<Kernel>,
    /// The series without a kernel, each with the reason.
    pub skipped: Vec<FilesError>,
    /// Why the present versions were not updated.
    pub not_updated: Option<ArchiveError>,
}

/// Fetches QEMU and the newest kernel of each series, if absent; with `update`, looks for newer ones.
///
/// Does nothing and needs no network if everything is present. A series that the archive does not have is
/// recorded as skipped. Processes that fetch at the same time wait for each other.
pub fn fetch(
    files: &MachineFiles,
    architecture: Architecture,
    series: &[KernelSeries],
    update: bool,
) -> Result<FetchReport, FetchError> {
    let _lock = lock(files)?;
    let fetch = Fetch { files, architecture };
    let absent: Vec<_> = series
        .iter()
        .copied()
        .filter(|&series| update || fetch.is_absent(series))
        .collect();
    let mut not_updated = None;
    if !absent.is_empty() || !fetch.is_equipped() {
        let complete = !series.iter().any(|&series| fetch.is_absent(series));
        match fetch.archives() {
            Ok(archives) => fetch.all(&archives, &absent)?,
            Err(error) if complete && fetch.is_equipped() => not_updated = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let (mut kernels, mut skipped) = (Vec::new(), Vec::new());
    for &series in series {
        match files.kernel(series, architecture) {
            Ok(kernel) => kernels.push(kernel),
            Err(error @ FilesError::Skipped { .. }) => skipped.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(FetchReport {
        qemu: files.qemu_version(architecture)?,
        kernels,
        skipped,
        not_updated,
    })
}

fn lock(files: &MachineFiles) -> Result<File, FilesError> {
    let path = files.path().join("lock");
    let locked = fs::create_dir_all(files.path())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file));
    locked.map_err(FilesError::file("lock", &path))
}

pub(super) struct Fetch<'a> {
    pub(super) files: &'a MachineFiles,
    pub(super) architecture: Architecture,
}

/// The host's packages, and those of a guest of another architecture.
struct Archives {
    host: Archive,
    guest: Option<Archive>,
}

impl Fetch<'_> {
    fn is_absent(&self, series: KernelSeries) -> bool {
        matches!(
            self.files.kernel(series, self.architecture),
            Err(FilesError::Missing { .. })
        )
    }

    /// Returns whether QEMU and the guest's root are present.
    fn is_equipped(&self) -> bool {
        let is_complete = |root: PathBuf| {
            let present = read_json::<Vec<String>>(&root.join(GUEST_RECORD));
            present.is_ok_and(|present| present.is_some_and(|packages| packages == GUEST_PACKAGES))
        };
        self.files.qemu_version(self.architecture).is_ok()
            && self.files.guest_root(self.architecture).is_none_or(is_complete)
    }

    fn archives(&self) -> Result<Archives, ArchiveError> {
        let folder = |architecture| self.files.path().join(format!("apt-{architecture}"));
        let open = |architecture| Archive::open(&folder(architecture), architecture);
        Ok(Archives {
            host: open(Architecture::Amd64)?,
            guest: match self.architecture {
                Architecture::Amd64 => None,
                Architecture::Arm64 => Some(open(Architecture::Arm64)?),
            },
        })
    }

    fn all(&self, archives: &Archives, series: &[KernelSeries]) -> Result<(), FetchError> {
        self.qemu(&archives.host)?;
        if let Some(archive) = &archives.guest {
            self.guest_root(archive)?;
        }
        let archive = archives.guest.as_ref().unwrap_or(&archives.host);
        let images = archive.names("linux-image-")?;
        let choice = |series| choose(series, self.architecture, images.iter().map(String::as_str));
        let newest = choice(KernelSeries::Newest).ok();
        for &series in series {
            match choice(series) {
                Ok(package) if series == KernelSeries::Longterm && Some(package) == newest => {
                    self.skip(series, &format!("{package} is also the newest"))?;
                }
                Ok(package) => self.kernel(archive, series, package)?,
                Err(error) => self.skip(series, &absent(&error, archive))?,
            }
        }
        Ok(())
    }

    /// Fetches the root of a guest that cannot have the host's. Nothing in it is configured.
    fn guest_root(&self, archive: &Archive) -> Result<(), FetchError> {
        let Some(root) = self.files.guest_root(self.architecture) else {
            return Ok(());
        };
        if self.is_equipped() {
            return Ok(());
        }
        remove(&root)?;
        archive.unpack_with_dependencies(GUEST_SUITE, &GUEST_PACKAGES, &root)?;
        trim(&root)?;
        for folder in ["proc", "sys", "dev", "run", "tmp", "mnt", "root"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(FilesError::file("create", &folder))?;
        }
        write_json(&root.join(GUEST_RECORD), &GUEST_PACKAGES)?;
        Ok(())
    }

    fn skip(&self, series: KernelSeries, reason: &str) -> Result<(), FilesError> {
        let path = self.files.skip_record(series, self.architecture);
        remove(&self.files.kernel_folder(series, self.architecture))?;
        fs::create_dir_all(self.files.path().join("kernels")).map_err(FilesError::file("create", &path))?;
        write_json(&path, &reason)
    }

    fn qemu(&self, archive: &Archive) -> Result<(), FetchError> {
        let package = self.architecture.qemu_package();
        let version = archive.package_of_suite(package, BACKPORTS)?.version;
        if self
            .files
            .qemu_version(self.architecture)
            .is_ok_and(|present| present == version)
        {
            return Ok(());
        }
        let mut packages = HOST_PACKAGES.to_vec();
        packages.push(package);
        let tree = self.files.qemu_tree();
        archive.unpack_with_dependencies(BACKPORTS, &packages, &tree)?;
        trim(&tree)?;
        write_json(&self.files.qemu_record(self.architecture), &version)?;
        Ok(())
    }
}

/// Removes documentation from an unpacked tree.
fn trim(tree: &Path) -> Result<(), FilesError> {
    for unused in ["doc", "man", "locale", "info", "lintian"] {
        remove(&tree.join("usr/share").join(unused))?;
    }
    Ok(())
}

/// Says why a kernel is absent, and which lists are, for a suite may have left the mirror.
fn absent(error: &SeriesError, archive: &Archive) -> String {
    match archive.incomplete() {
        Some(incomplete) => format!("{error}; {incomplete}"),
        None => error.to_string(),
    }
}
