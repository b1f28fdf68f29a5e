//! Debian's archive, through a private apt root: apt checks signatures as always, and the host's lists and
//! packages are neither used nor changed.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::Architecture;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian/";
const SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security/";
/// bookworm has 6.1, trixie 6.12, and its backports the newer kernels and QEMU.
const SUITES: &str = "bookworm trixie trixie-backports";
const SECURITY_SUITES: &str = "bookworm-security trixie-security";
/// The suite whose QEMU has the vfio-user client.
pub(super) const BACKPORTS: &str = "trixie-backports";

/// Debian's archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The host is not Debian enough.
    #[error("`{missing}` is missing; on Debian run: apt-get install {package}")]
    Host {
        /// The missing program or file.
        missing: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A program failed.
    #[error("`{command}` failed; check that the mirror {mirror} is reachable: {output}")]
    Program {
        /// The command.
        command: String,
        /// The mirror.
        mirror: String,
        /// What it printed.
        output: String,
    },
    /// A file of the private apt root cannot be written.
    #[error("cannot write `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// A private apt root. Its folder is removed on drop.
#[derive(Debug)]
pub(super) struct Archive {
    root: PathBuf,
    mirror: String,
}

/// A package of the archive.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) version: String,
    pub(super) depends: String,
}

impl Archive {
    /// Creates the root in `folder`, for packages of one architecture, and downloads the package lists.
    pub(super) fn open(folder: &Path, architecture: Architecture) -> Result<Self, ArchiveError> {
        if !Path::new(KEYRING).exists() {
            let (missing, package) = (KEYRING, "debian-archive-keyring");
            return Err(ArchiveError::Host { missing, package });
        }
        let mirrors = host_mirrors()?;
        let archive = Self {
            root: folder.to_owned(),
            mirror: mirrors.0.clone(),
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = archive.root.join(part);
            fs::create_dir_all(&path).map_err(|source| ArchiveError::File { path, source })?;
        }
        archive.write("status", "")?;
        archive.write("debian.sources", &sources(&mirrors))?;
        archive.write("apt.conf", &archive.configuration(architecture)?)?;
        archive.apt("apt-get", ["update", "--error-on=any", "-q"])?;
        Ok(archive)
    }

    /// Returns the names of all packages that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        let names = self.apt("apt-cache", ["pkgnames", prefix])?;
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
        let record = self.apt("apt-cache", arguments)?;
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
        self.apt("apt-get", arguments)?;
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
        self.apt("apt-get", arguments)?;
        self.unpack_downloads(into)
    }

    fn downloads(&self) -> PathBuf {
        self.root.join("cache/archives")
    }

    fn unpack_downloads(&self, into: &Path) -> Result<(), ArchiveError> {
        let folder = self.downloads();
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
                self.run(dpkg)?;
                fs::remove_file(&package).map_err(failed(&package))?;
            }
        }
        Ok(())
    }

    fn configuration(&self, architecture: Architecture) -> Result<String, ArchiveError> {
        let root = self.root.display();
        // Proxies, time-outs and the like are the host's; its hooks are not, they act on the host.
        let host = self.run(host_apt("apt-config", ["dump"]))?;
        let host = host
            .lines()
            .filter(|line| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets"));
        let host: Vec<_> = host.collect();
        Ok(format!(
            r#"{host}
Dir "{root}";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc "{root}";
Dir::Etc::sourcelist "{root}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::parts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
"#,
            host = host.join("\n")
        ))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ArchiveError> {
        let path = self.root.join(name);
        fs::write(&path, text).map_err(|source| ArchiveError::File { path, source })
    }

    fn apt<S: AsRef<OsStr>>(
        &self,
        program: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, ArchiveError> {
        let mut command = host_apt(program, arguments);
        command
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .current_dir(self.downloads());
        self.run(command)
    }

    fn run(&self, command: Command) -> Result<String, ArchiveError> {
        run(command, &self.mirror)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Returns the host's mirrors of Debian and of its security archive, or the official ones on other hosts.
fn host_mirrors() -> Result<(String, String), ArchiveError> {
    let format = "$(RELEASE) $(REPO_URI)";
    let arguments = ["indextargets", "--format", format, "Created-By: Packages"];
    let targets = run(host_apt("apt-get", arguments), MIRROR)?;
    let mirror = |security: bool| {
        targets
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(release, uri)| {
                let debian = release.starts_with("bookworm") || release.starts_with("trixie");
                (debian && release.ends_with("-security") == security).then(|| uri.to_owned())
            })
    };
    Ok((
        mirror(false).unwrap_or_else(|| MIRROR.to_owned()),
        mirror(true).unwrap_or_else(|| SECURITY_MIRROR.to_owned()),
    ))
}

fn sources((mirror, security): &(String, String)) -> String {
    let source = |uri: &str, suites: &str| {
        format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n")
    };
    source(mirror, SUITES) + &source(security, SECURITY_SUITES)
}

fn host_apt<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn run(mut command: Command, mirror: &str) -> Result<String, ArchiveError> {
    let Ok(Output {
        status,
        stdout,
        stderr,
    }) = command.output()
    else {
        return Err(ArchiveError::Host {
            missing: "apt-get",
            package: "apt dpkg",
        });
    };
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(ArchiveError::Program {
        command: format!("{command:?}"),
        mirror: mirror.to_owned(),
        output: String::from_utf8_lossy(&stderr).trim().to_owned(),
    })
}
