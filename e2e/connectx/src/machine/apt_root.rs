//! A private apt root: apt checks signatures as always, and the host's lists and packages are neither used
//! nor changed.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::Architecture;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// bookworm has 6.1, trixie 6.12, and its backports the newer kernels and QEMU.
const SUITES: &str = "bookworm trixie trixie-backports";
const SECURITY_SUITES: &str = "bookworm-security trixie-security";

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
    /// The host's apt does not know a mirror of Debian 12 or 13.
    #[error("apt has no source with the suite bookworm or trixie; add one to /etc/apt/sources.list.d")]
    NoMirror,
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

/// A folder in which apt works. It is removed on drop.
#[derive(Debug)]
pub(super) struct AptRoot {
    path: PathBuf,
    mirror: String,
}

impl AptRoot {
    /// Creates it for packages of one architecture.
    pub(super) fn new(path: &Path, architecture: Architecture) -> Result<Self, ArchiveError> {
        if !Path::new(KEYRING).exists() {
            let (missing, package) = (KEYRING, "debian-archive-keyring");
            return Err(ArchiveError::Host { missing, package });
        }
        let mirrors = host_mirrors()?;
        let root = Self {
            path: path.to_owned(),
            mirror: mirrors.archive.clone(),
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = root.path.join(part);
            fs::create_dir_all(&path).map_err(|source| ArchiveError::File { path, source })?;
        }
        root.write("status", "")?;
        root.write("debian.sources", &sources(&mirrors))?;
        root.write("apt.conf", &root.configuration(architecture)?)?;
        Ok(root)
    }

    /// Returns the folder of downloaded packages.
    pub(super) fn downloads(&self) -> PathBuf {
        self.path.join("cache/archives")
    }

    /// Runs a program of apt in this root, and returns what it printed.
    pub(super) fn apt<S: AsRef<OsStr>>(
        &self,
        program: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, ArchiveError> {
        let mut command = host_apt(program, arguments);
        command
            .env("APT_CONFIG", self.path.join("apt.conf"))
            .current_dir(self.downloads());
        self.run(command)
    }

    /// Runs a program, and returns what it printed.
    pub(super) fn run(&self, command: Command) -> Result<String, ArchiveError> {
        run(command, &self.mirror)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ArchiveError> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(|source| ArchiveError::File { path, source })
    }

    fn configuration(&self, architecture: Architecture) -> Result<String, ArchiveError> {
        let root = self.path.display();
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
}

impl Drop for AptRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The host's mirrors.
struct Mirrors {
    archive: String,
    /// The security archive, which has newer kernels than the archive; absent on hosts without it.
    security: Option<String>,
}

/// Returns the mirrors that the host's apt is configured for.
fn host_mirrors() -> Result<Mirrors, ArchiveError> {
    let format = "$(RELEASE) $(REPO_URI)";
    let arguments = ["indextargets", "--format", format, "Created-By: Packages"];
    let targets = run(host_apt("apt-get", arguments), "of the host")?;
    mirrors(&targets).ok_or(ArchiveError::NoMirror)
}

/// Parses lines of a suite and the mirror that has it.
fn mirrors(targets: &str) -> Option<Mirrors> {
    let mirror = |security: bool| {
        targets
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(release, uri)| {
                let debian = release.starts_with("bookworm") || release.starts_with("trixie");
                (debian && release.ends_with("-security") == security).then(|| uri.to_owned())
            })
    };
    Some(Mirrors {
        archive: mirror(false)?,
        security: mirror(true),
    })
}

fn sources(mirrors: &Mirrors) -> String {
    let source = |uri: &str, suites: &str| {
        format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n")
    };
    let security = mirrors.security.as_ref();
    source(&mirrors.archive, SUITES) + &security.map_or_else(String::new, |uri| source(uri, SECURITY_SUITES))
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
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    Err(ArchiveError::Program {
        command: words.join(" "),
        mirror: mirror.to_owned(),
        output: String::from_utf8_lossy(&stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_the_hosts_mirrors() {
        let targets = "stable http://other/apt\nbookworm http://mirror/debian\nbookworm-security http://mirror/security\n";
        let sources = sources(&mirrors(targets).unwrap());
        assert!(sources.contains("URIs: http://mirror/debian\nSuites: bookworm trixie trixie-backports"));
        assert!(sources.contains("URIs: http://mirror/security\nSuites: bookworm-security"));
    }

    #[test]
    fn a_host_without_the_security_archive_has_no_source_for_it() {
        let sources = sources(&mirrors("trixie http://mirror/debian\n").unwrap());
        assert!(!sources.contains("-security"));
    }

    #[test]
    fn a_host_without_debians_archive_has_no_mirror() {
        assert!(mirrors("stable http://other/apt\n").is_none());
    }
}
