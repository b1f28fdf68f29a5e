//! Arranges the packages of a kernel.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    FetchError, FilesError, Kernel, KernelSeries,
    archive::Archive,
    fetch::Fetch,
    files::{remove, write_json},
    series::parts,
};

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

impl Fetch<'_> {
    /// Fetches a kernel, unless its folder has it.
    pub(super) fn kernel(
        &self,
        archive: &Archive,
        series: KernelSeries,
        package: &str,
    ) -> Result<(), FetchError> {
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
