//! Checks that only root can change a directory.
//!
//! A process that can create or rename something on the way to the pin directory can put maps and links of
//! its own there. The check goes from the root of the file system downwards: below a directory that only root
//! can write, no other process can replace what was checked. So no race is left, and nothing has to stay
//! open.

use std::{
    fs::{
        Metadata, {self},
    },
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

/// Write permission of the group or of others.
const WRITABLE: u32 = 0o022;
/// Levels of directories below the pin directory that are checked, too.
const LEVELS: u32 = 2;

/// A directory that others than root can change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be trusted with programs and tables: {flaw}", path.display())]
pub struct Untrusted {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It belongs to another user.
    #[error("it belongs to user {0}")]
    Owner(u32),
    /// Others can write there, even if only what is new.
    #[error("its mode {0:04o} lets others than root write there")]
    Mode(u32),
    /// It is a symbolic link.
    #[error("it is a symbolic link")]
    Link,
    /// It is something else.
    #[error("it is no directory")]
    NoDirectory,
    /// `..` leads upwards.
    #[error("it contains `..`")]
    Upwards,
}

impl Untrusted {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        let path = self.path.display();
        match self.flaw {
            Flaw::Owner(_) => format!("see who made `{path}`, remove it, or `chown root:root {path}`"),
            Flaw::Mode(_) => format!("chmod go-w {path}"),
            Flaw::Link | Flaw::Upwards => "name the directory itself with --pin-dir".to_owned(),
            Flaw::NoDirectory => "choose another directory with --pin-dir".to_owned(),
        }
    }
}

/// Why a directory did not pass.
#[derive(Debug)]
pub(super) enum TrustError {
    Untrusted(Untrusted),
    Unreadable { path: PathBuf, source: io::Error },
}

/// Checks a directory, everything that leads to it, and the directories below it. What does not exist yet
/// will be made by the agent.
pub(super) fn check(directory: &Path) -> Result<(), TrustError> {
    let unreadable = |path: &Path, source| TrustError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let directory = std::path::absolute(directory).map_err(|source| unreadable(directory, source))?;
    let mut path = PathBuf::new();
    for component in directory.components() {
        if component == Component::ParentDir {
            return Err(untrusted(&directory, Flaw::Upwards));
        }
        path.push(component);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&path, error)),
            Ok(found) => trusted(&path, &found)?,
        }
    }
    below(&directory, LEVELS)
}

/// Checks the directories in a directory. Pins need no check: only root can have made them.
fn below(directory: &Path, levels: u32) -> Result<(), TrustError> {
    let unreadable = |source| TrustError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let found = fs::symlink_metadata(&path).map_err(unreadable)?;
        if found.is_dir() || found.is_symlink() {
            trusted(&path, &found)?;
        }
        if found.is_dir() && levels > 1 {
            below(&path, levels - 1)?;
        }
    }
    Ok(())
}

fn trusted(path: &Path, found: &Metadata) -> Result<(), TrustError> {
    flaw(found).map_or(Ok(()), |flaw| Err(untrusted(path, flaw)))
}

fn flaw(found: &Metadata) -> Option<Flaw> {
    let mode = found.permissions().mode() & 0o7777;
    if found.is_symlink() {
        Some(Flaw::Link)
    } else if !found.is_dir() {
        Some(Flaw::NoDirectory)
    } else if found.uid() != 0 {
        Some(Flaw::Owner(found.uid()))
    } else if mode & WRITABLE != 0 {
        Some(Flaw::Mode(mode))
    } else {
        None
    }
}

fn untrusted(path: &Path, flaw: Flaw) -> TrustError {
    TrustError::Untrusted(Untrusted {
        path: path.to_owned(),
        flaw,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt as _, chown, symlink};

    use super::*;

    /// A directory below one that only root can write.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = PathBuf::from(format!("/run/xdp-agent-{name}-{}", std::process::id()));
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700).recursive(true);
            builder.create(place.join("bpf/xdp/abi-6/maps")).unwrap();
            Self(place)
        }

        fn flaw(&self, path: &str) -> Option<(PathBuf, Flaw)> {
            match check(&self.0.join(path)) {
                Ok(()) => None,
                Err(TrustError::Untrusted(untrusted)) => {
                    assert!(!untrusted.remedy().is_empty());
                    Some((untrusted.path, untrusted.flaw))
                }
                Err(TrustError::Unreadable { path, source }) => panic!("{}: {source}", path.display()),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_of_root_is_trusted_whether_it_exists_or_not() {
        let place = Place::new("trusted");
        assert_eq!(place.flaw("bpf/xdp"), None);
        assert_eq!(place.flaw("bpf/not/yet"), None);
    }

    #[test]
    fn every_directory_on_the_way_and_below_counts() {
        for path in ["bpf", "bpf/xdp", "bpf/xdp/abi-6", "bpf/xdp/abi-6/maps"] {
            let place = Place::new("every");
            let changed = place.0.join(path);
            for mode in [0o1777, 0o770, 0o702] {
                chmod(&changed, mode);
                let flaw = Flaw::Mode(mode);
                assert_eq!(place.flaw("bpf/xdp"), Some((changed.clone(), flaw)));
            }
            chmod(&changed, 0o755);
            assert_eq!(place.flaw("bpf/xdp"), None, "others may read");
            chown(&changed, Some(65_534), None).unwrap();
            let flaw = Flaw::Owner(65_534);
            assert_eq!(place.flaw("bpf/xdp"), Some((changed, flaw)));
        }
    }

    #[test]
    fn symbolic_links_and_ways_upwards_are_not_followed() {
        let place = Place::new("links");
        symlink("bpf", place.0.join("link")).unwrap();
        let link = place.0.join("link");
        assert_eq!(place.flaw("link/xdp"), Some((link.clone(), Flaw::Link)));
        assert_eq!(place.flaw("link"), Some((link, Flaw::Link)));
        let up = "bpf/../bpf/xdp";
        assert_eq!(place.flaw(up), Some((place.0.join(up), Flaw::Upwards)));
        symlink("abi-6", place.0.join("bpf/xdp/abi-5")).unwrap();
        let inside = place.0.join("bpf/xdp/abi-5");
        assert_eq!(place.flaw("bpf/xdp"), Some((inside, Flaw::Link)));
    }
}
