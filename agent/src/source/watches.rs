//! Watches a directory by the path that leads to it, symbolic links included.
//!
//! Tools that publish manifests in one step write them into a new directory, and replace a symbolic link to
//! the old one (git-sync, volumes of a `ConfigMap`). inotify watches what a link leads to, not the link: so
//! the directories that hold the links are watched, too, and after a change the new target.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::source::SourceError;

/// The kernel follows no more links in one path.
const MAX_LINKS: usize = 40;

/// The directory at the end of a path, and the symbolic links on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    directory: PathBuf,
    links: BTreeSet<PathBuf>,
}

impl Watched {
    fn resolve(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut rest: VecDeque<OsString> = names(&path);
        let mut watched = Self::default();
        watched.directory.push("/");
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                watched.directory.pop();
                continue;
            }
            let next = watched.directory.join(&name);
            if !fs::symlink_metadata(&next)?.is_symlink() {
                watched.directory = next;
                continue;
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                watched.directory = PathBuf::from("/");
            }
            for name in names(&target).into_iter().rev() {
                rest.push_front(name);
            }
            watched.links.insert(next);
            if watched.links.len() > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
        }
        Ok(watched)
    }

    /// Returns whether a change of this path is one of the manifests.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        path == self.directory || path.parent() == Some(&self.directory) || self.links.contains(path)
    }

    fn directories(&self) -> BTreeSet<&Path> {
        let of_links = self.links.iter().filter_map(|link| link.parent());
        of_links.chain([self.directory.as_path()]).collect()
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.collect()
}

/// The watches of one path.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: RecommendedWatcher,
    watched: Watched,
    /// The inode of the directory: one with the same path can be another one.
    inode: Option<u64>,
}

impl Watches {
    /// Watches the directory to which a path leads, and calls `changed` with every event.
    pub(super) fn new(
        path: &Path,
        changed: impl FnMut(notify::Result<notify::Event>) + Send + 'static,
    ) -> Result<Self, SourceError> {
        let error = |source| SourceError::Watch {
            path: path.to_owned(),
            source,
        };
        let mut watches = Self {
            watcher: notify::recommended_watcher(changed).map_err(error)?,
            watched: Watched::default(),
            inode: None,
        };
        let links = Watched::resolve(path).map_err(|source| error(notify::Error::io(source)))?;
        watches.watch(links).map_err(error)?;
        Ok(watches)
    }

    pub(super) const fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Watches what the path leads to now. Returns whether that is another directory than before. A path that
    /// leads nowhere at the moment keeps its watches: among them is the directory in which it is repaired.
    pub(super) fn renew(&mut self, path: &Path) -> bool {
        let Ok(watched) = Watched::resolve(path) else {
            return false;
        };
        if watched == self.watched && inode(&watched.directory) == self.inode {
            return false;
        }
        // What cannot be watched is read again from time to time.
        let _ = self.watch(watched);
        true
    }

    /// Directories of links keep their watches, so that no change of a link is missed meanwhile.
    fn watch(&mut self, watched: Watched) -> notify::Result<()> {
        let inode = inode(&watched.directory);
        let mut old = self.watched.directories();
        if inode != self.inode {
            // The same path leads to another directory.
            let _ = self.watcher.unwatch(&self.watched.directory);
            old.remove(&*self.watched.directory);
        }
        let new = watched.directories();
        let mut result = Ok(());
        for directory in new.difference(&old) {
            let watched = self.watcher.watch(directory, RecursiveMode::NonRecursive);
            result = result.and(watched);
        }
        for directory in old.difference(&new) {
            // A directory that is gone has lost its watch.
            let _ = self.watcher.unwatch(directory);
        }
        self.inode = inode;
        self.watched = watched;
        result
    }
}

fn inode(directory: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;

    fs::metadata(directory).ok().map(|directory| directory.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_directory_and_the_links_that_lead_to_it() {
        let base = std::env::temp_dir().join(format!("xdp-agent-watched-{}", std::process::id()));
        fs::create_dir_all(base.join("revisions/1")).unwrap();
        std::os::unix::fs::symlink("revisions/1", base.join("current")).unwrap();
        std::os::unix::fs::symlink(base.join("current/../1"), base.join("manifests")).unwrap();
        let watched = Watched::resolve(&base.join("manifests"));
        fs::remove_dir_all(&base).unwrap();
        let watched = watched.unwrap();
        assert_eq!(watched.directory, base.join("revisions/1"));
        let links = [base.join("current"), base.join("manifests")];
        assert_eq!(watched.links, BTreeSet::from(links.clone()));
        assert!(watched.concerns(&links[0]) && watched.concerns(&base.join("revisions/1/a.yaml")));
        assert!(!watched.concerns(&base.join("other")));
    }
}
