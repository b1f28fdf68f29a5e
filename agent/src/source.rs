//! Sources of policies and pods: a directory of manifests, or a cluster. Both follow changes.

pub(crate) mod cluster;
mod manifests;
mod state;
#[cfg(test)]
mod tests;
mod wanted;
mod watches;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
};

use thiserror::Error;
use xdp_plan::{
    network_policy::KnownPolicy,
    permission::NamespaceLabels,
    pod::Pod,
    policy::{MarkMask, Policy},
    report::Problem,
};

pub(crate) use self::{
    manifests::Manifests,
    wanted::{ObjectSource, Objects},
};
use self::{
    state::Files,
    watches::{Watched, Watches},
};

/// The directory cannot be followed.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The directory cannot be read.
    #[error("cannot read the manifests directory `{path}`; create it, or choose another with --manifests")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// inotify cannot watch the directory.
    #[error("cannot watch the manifests directory `{path}`; check fs.inotify.max_user_watches")]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: notify::Error,
    },
}

/// A directory of YAML and JSON files.
#[derive(Debug)]
pub struct ManifestSource {
    directory: PathBuf,
    files: Files,
    /// The last seen stamps of the files, by name.
    seen: BTreeMap<String, FileStamp>,
    changed: Arc<Mutex<Changed>>,
    watches: Watches,
}

impl ManifestSource {
    /// Watches `directory` and sends `event` whenever something in it changes. It may be a symbolic link, and
    /// the link may change. Reads nothing yet. Policies with marks outside `marks` are refused.
    pub fn follow<E: Clone + Send + 'static>(
        directory: &Path,
        marks: MarkMask,
        sender: Sender<E>,
        event: E,
    ) -> Result<Self, SourceError> {
        list(directory)?;
        let changed = Arc::<Mutex<Changed>>::default();
        let recorded = Arc::clone(&changed);
        // Sending fails only while the agent stops.
        let notify = move |change| {
            if lock(&recorded).record(change) {
                let _ = sender.send(event.clone());
            }
        };
        let watches = Watches::new(directory, notify)?;
        lock(&changed).watched = watches.watched().clone();
        Ok(Self {
            directory: directory.to_owned(),
            files: Files::new(marks),
            seen: BTreeMap::new(),
            changed,
            watches,
        })
    }

    /// Reads the changed files, or all files if `all`. Returns the problems.
    ///
    /// Objects that a file no longer contains because of an error keep their last state. A directory that
    /// cannot be read changes nothing.
    pub fn reload(&mut self, all: bool) -> Vec<Problem> {
        // Before anything is read: what changes later is reported.
        let moved = self.watches.renew(&self.directory);
        let (names, lost) = {
            let mut changed = lock(&self.changed);
            changed.watched = self.watches.watched().clone();
            (
                std::mem::take(&mut changed.names),
                std::mem::take(&mut changed.lost),
            )
        };
        let lost = lost || all || moved;
        let files = match list(&self.directory) {
            Ok(files) => files,
            Err(error) => {
                // The changed names are unknown now.
                lock(&self.changed).lost = true;
                return vec![unreadable(&self.directory, error)];
            }
        };
        let mut seen = BTreeMap::new();
        let mut texts = BTreeMap::new();
        for (name, path) in files {
            let now = fs::metadata(&path).ok().as_ref().map(FileStamp::new);
            let same = now.is_some() && self.seen.get(&name) == now.as_ref();
            if lost || !same || names.contains(&name) {
                match fs::read_to_string(&path) {
                    // Deleted after the listing.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    text => drop(texts.insert(name.clone(), text)),
                }
            }
            seen.insert(name, now.unwrap_or_default());
        }
        self.seen = seen;
        self.files.retain(|name| self.seen.contains_key(name));
        self.files.update(texts);
        self.files.problems()
    }

    /// Returns the policies and pods as last read.
    pub fn objects(&self) -> (Vec<Arc<Policy>>, Vec<Arc<Pod>>) {
        self.files.objects()
    }

    /// Returns `NetworkPolicies` and the like as last read.
    pub(crate) fn network_policies(&self) -> Vec<KnownPolicy> {
        self.files.network_policies()
    }

    /// Returns the labels of the namespaces as last read.
    pub(crate) fn namespaces(&self) -> NamespaceLabels {
        self.files.namespaces()
    }
}

/// The changes that inotify has reported since the last read.
#[derive(Debug, Default)]
struct Changed {
    /// What is watched.
    watched: Watched,
    names: BTreeSet<String>,
    /// Whether reports were lost.
    lost: bool,
}

impl Changed {
    /// Returns whether the change concerns the manifests: the directory of a symbolic link holds other files,
    /// too.
    fn record(&mut self, change: notify::Result<notify::Event>) -> bool {
        match change {
            Ok(change) if change.kind.is_access() => false,
            Ok(change) if !change.need_rescan() => {
                let paths = change.paths.iter();
                let concern: Vec<&PathBuf> = paths.filter(|path| self.watched.concerns(path)).collect();
                self.names.extend(concern.iter().map(|path| file_name(path)));
                !concern.is_empty()
            }
            _ => {
                self.lost = true;
                true
            }
        }
    }
}

fn lock(changed: &Mutex<Changed>) -> MutexGuard<'_, Changed> {
    changed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Identifies a version of a file. The events of a directory do not name a symbolic link whose target
/// changes, and all files in a `ConfigMap` volume are such links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileStamp {
    file: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn new(file: &fs::Metadata) -> Self {
        Self {
            file: (file.dev(), file.ino()),
            bytes: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

fn unreadable(directory: &Path, error: SourceError) -> Problem {
    Problem::new(
        format!("directory {}", directory.display()),
        "ManifestsUnreadable",
        format!("{:#}; the last state stays programmed", anyhow::Error::new(error)),
        "make the directory readable again",
    )
}

/// Lists the manifest files with their names.
fn list(directory: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let error = |source| SourceError::Directory {
        path: directory.to_owned(),
        source,
    };
    let files = files(directory).map_err(error)?.into_iter();
    Ok(files.map(|path| (file_name(&path), path)).collect())
}

/// Lists the paths of the manifest files in a directory, in order.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let manifest = path
            .extension()
            .is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext == *known));
        if manifest && !file_name(&path).starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}
