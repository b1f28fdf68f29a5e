//! Debian's archive: which packages it has, and their files.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use super::{Architecture, ArchiveError, apt_root::AptRoot};

/// The suite whose QEMU has the vfio-user client.
pub(super) const BACKPORTS: &str = "trixie-backports";

/// The archive as of now.
#[derive(Debug)]
pub(super) struct Archive {
    root: AptRoot,
    incomplete: Option<ArchiveError>,
}

/// A package of the archive.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) version: String,
    pub(super) depends: String,
}

impl Archive {
    /// Downloads the package lists of one architecture into `folder`, which is removed on drop.
    ///
    /// A suite that the mirror no longer has is left out; without any, this is an error.
    pub(super) fn open(folder: &Path, architecture: Architecture) -> Result<Self, ArchiveError> {
        let root = AptRoot::new(folder, architecture)?;
        let incomplete = root.apt("apt-get", ["update", "--error-on=any", "-q"]).err();
        let archive = Self { root, incomplete };
        match (archive.names("")?.is_empty(), archive.incomplete) {
            (true, Some(error)) => Err(error),
            (_, incomplete) => Ok(Self {
                root: archive.root,
                incomplete,
            }),
        }
    }

    /// Returns why lists are missing, if some are.
    pub(super) fn incomplete(&self) -> Option<&ArchiveError> {
        self.incomplete.as_ref()
    }

    /// Returns the names of all packages that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        let names = self.root.apt("apt-cache", ["pkgnames", prefix])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Returns what the archive says about a package.
    pub(super) fn package(&self, name: &str) -> Result<Package, ArchiveError> {
        self.show(["show", "--no-all-versions", name])
    }

    /// Returns what a suite says about a package.
    pub(super) fn package_of_suite(&self, name: &str, suite: &str) -> Result<Package, ArchiveError> {
        self.show(["show", "--no-all-versions", &format!("{name}/{suite}")])
    }

    fn show(&self, arguments: [&str; 3]) -> Result<Package, ArchiveError> {
        let record = self.root.apt("apt-cache", arguments)?;
        let field = |key: &str| {
            let line = record.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        Ok(Package {
            version: field("Version:"),
            depends: field("Depends:"),
        })
    }

    /// Downloads packages and unpacks them into a folder, without what they depend on.
    pub(super) fn unpack<S: AsRef<str>>(&self, packages: &[S], into: &Path) -> Result<(), ArchiveError> {
        let mut arguments = vec!["download", "-q"];
        arguments.extend(packages.iter().map(AsRef::as_ref));
        self.root.apt("apt-get", arguments)?;
        self.unpack_downloads(into)
    }

    /// Downloads packages of a suite with what they depend on, and unpacks all into a folder.
    pub(super) fn unpack_with_dependencies(
        &self,
        suite: &str,
        packages: &[&str],
        into: &Path,
    ) -> Result<(), ArchiveError> {
        let mut arguments = vec![
            "install",
            "-q",
            "-y",
            "--download-only",
            "--no-install-recommends",
            "-t",
            suite,
        ];
        arguments.extend(packages);
        self.root.apt("apt-get", arguments)?;
        self.unpack_downloads(into)
    }

    fn unpack_downloads(&self, into: &Path) -> Result<(), ArchiveError> {
        let folder = self.root.downloads();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ArchiveError::File { path, source }
        };
        fs::create_dir_all(into).map_err(failed(into))?;
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let package = entry.map_err(failed(&folder))?.path();
            if package.extension() == Some(OsStr::new("deb")) {
                let mut dpkg = Command::new("dpkg");
                dpkg.arg("--extract").arg(&package).arg(into);
                self.root.run(dpkg)?;
                fs::remove_file(&package).map_err(failed(&package))?;
            }
        }
        Ok(())
    }
}
