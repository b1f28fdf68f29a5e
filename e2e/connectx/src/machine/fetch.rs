//! Fills the folder of [`MachineFiles`] from Debian's archive.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    Architecture, ArchiveError, FilesError, Kernel, KernelSeries, MachineFiles, SeriesError,
    archive::{Archive, BACKPORTS},
    files::write_json,
    series::{choose, parts},
};

/// What the host side needs in addition to QEMU.
const HOST_PACKAGES: [&str; 4] = ["busybox-static", "kmod", "xz-utils", "zstd"];
/// Modules for which no machine has a device: three quarters of the size.
const UNUSED_MODULES: [&str; 9] = [
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/staging",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/net/wireless",
    "drivers/scsi",
    "drivers/usb",
];

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
    if !absent.is_empty() || files.qemu_version(architecture).is_err() {
        let complete = !series.iter().any(|&series| fetch.is_absent(series));
        match Archive::open(&files.path().join("apt"), architecture) {
            Ok(archive) => fetch.all(&archive, &absent)?,
            Err(error) if complete && files.qemu_version(architecture).is_ok() => not_updated = Some(error),
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

struct Fetch<'a> {
    files: &'a MachineFiles,
    architecture: Architecture,
}

impl Fetch<'_> {
    fn is_absent(&self, series: KernelSeries) -> bool {
        matches!(
            self.files.kernel(series, self.architecture),
            Err(FilesError::Missing { .. })
        )
    }

    fn all(&self, archive: &Archive, series: &[KernelSeries]) -> Result<(), FetchError> {
        self.qemu(archive)?;
        let images = archive.names("linux-image-")?;
        let choice = |series| choose(series, self.architecture, images.iter().map(String::as_str));
        let newest = choice(KernelSeries::Newest).ok();
        for &series in series {
            match choice(series) {
                Ok(package) if series == KernelSeries::Longterm && Some(package) == newest => {
                    self.skip(series, &format!("{package} is also the newest"))?;
                }
                Ok(package) => self.kernel(archive, series, package)?,
                Err(error @ (SeriesError::Absent { .. } | SeriesError::Unknown(_))) => {
                    self.skip(series, &error.to_string())?;
                }
            }
        }
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
        for unused in ["doc", "man", "locale", "info", "lintian"] {
            remove(&tree.join("usr/share").join(unused))?;
        }
        write_json(&self.files.qemu_record(self.architecture), &version)?;
        Ok(())
    }

    fn kernel(&self, archive: &Archive, series: KernelSeries, package: &str) -> Result<(), FetchError> {
        let facts = archive.package(package)?;
        let release = package
            .trim_start_matches("linux-image-")
            .trim_end_matches("-unsigned");
        let present = self.files.kernel(series, self.architecture);
        if present.is_ok_and(|kernel| kernel.version == facts.version && kernel.release == release) {
            return Ok(());
        }
        let new = self.files.path().join("new");
        remove(&new)?;
        let mut packages = vec![package];
        packages.extend(parts(&facts.depends));
        archive.unpack(&packages, &new.join("tree"))?;
        let kernel = Kernel {
            series,
            architecture: self.architecture,
            release: release.to_owned(),
            version: facts.version,
            image: PathBuf::from("vmlinuz"),
            modules: Path::new("modules").join(release),
        };
        self.arrange(&kernel, &new)?;
        write_json(&new.join("kernel.json"), &kernel)?;
        let folder = self.files.kernel_folder(series, self.architecture);
        remove(&self.files.skip_record(series, self.architecture))?;
        remove(&folder)?;
        fs::create_dir_all(self.files.path().join("kernels"))
            .and_then(|()| fs::rename(&new, &folder))
            .map_err(FilesError::file("create", &folder))?;
        Ok(())
    }

    /// Keeps the image and the used modules of an unpacked kernel, and makes the index of the modules.
    fn arrange(&self, kernel: &Kernel, folder: &Path) -> Result<(), FetchError> {
        let tree = folder.join("tree");
        let missing = |what| FetchError::Package {
            package: format!("linux-image-{}", kernel.release),
            what,
        };
        let release = &kernel.release;
        let in_tree = |candidates: [String; 3]| {
            candidates
                .map(|path| tree.join(path))
                .into_iter()
                .find(|p| p.exists())
        };
        let modules = in_tree(["lib", "usr/lib", "usr"].map(|lib| format!("{lib}/modules/{release}")))
            .ok_or_else(|| missing("modules"))?;
        let image = in_tree([
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
            format!("lib/modules/{release}/vmlinuz"),
        ]);
        let image = image.ok_or_else(|| missing("vmlinuz"))?;
        let to = folder.join(&kernel.modules);
        fs::rename(&image, folder.join(&kernel.image))
            .and_then(|()| fs::create_dir_all(folder.join("modules")))
            .and_then(|()| fs::rename(&modules, &to))
            .map_err(FilesError::file("arrange", folder))?;
        remove(&tree)?;
        for unused in UNUSED_MODULES {
            remove(&to.join("kernel").join(unused))?;
        }
        self.depmod(kernel, folder)
    }

    fn depmod(&self, kernel: &Kernel, folder: &Path) -> Result<(), FetchError> {
        // depmod looks for lib/modules or usr/lib/modules below its base: both lead to `modules`.
        let links = ["lib", "usr"].map(|name| folder.join(name));
        for link in &links {
            symlink(".", link).map_err(FilesError::file("create", link))?;
        }
        let mut command = self.files.program("usr/bin/kmod", "depmod");
        command.arg("--basedir").arg(folder).arg(&kernel.release);
        let output = command
            .output()
            .map_err(FilesError::file("run", Path::new("depmod")))?;
        for link in &links {
            remove(link)?;
        }
        let index = folder.join(&kernel.modules).join("modules.dep");
        if output.status.success() && fs::metadata(index).is_ok_and(|index| index.len() > 0) {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(FetchError::Depmod {
            release: kernel.release.clone(),
            output,
        })
    }
}

/// Removes a file, a symbolic link or a folder, if it exists.
fn remove(path: &Path) -> Result<(), FilesError> {
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
