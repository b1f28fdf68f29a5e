//! Where policies and pods come from: a folder of manifests, or a cluster; both are followed as they change.

pub(crate) mod cluster;
mod state;
#[cfg(test)]
mod tests;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use xdp_plan::{pod::Pod, policy::Policy, report::Problem};

use self::state::Files;
pub(crate) use self::wanted::{Objects, Source};

/// The folder cannot be followed.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("manifests folder `{path}` cannot be read: create it, or name another with --manifests")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel does not follow it.
    #[error("manifests folder `{path}` cannot be followed (inotify; see fs.inotify.max_user_watches)")]
    Watch {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
}

/// A folder of YAML and JSON files.
#[derive(Debug)]
pub struct Manifests {
    folder: PathBuf,
    files: Files,
    /// The files as they were last seen, by name.
    seen: BTreeMap<String, FileStamp>,
    changed: Arc<Mutex<Changed>>,
    _watcher: RecommendedWatcher,
}

impl Manifests {
    /// Follows `folder`: sends `event` whenever something in it changes. Nothing is read yet.
    pub fn follow<E: Clone + Send + 'static>(
        folder: &Path,
        sender: Sender<E>,
        event: E,
    ) -> Result<Self, SourceError> {
        let error = |source| SourceError::Watch {
            path: folder.to_owned(),
            source,
        };
        list(folder)?;
        let changed = Arc::<Mutex<Changed>>::default();
        let noted = Arc::clone(&changed);
        // A receiver that is gone means that the agent is stopping.
        let mut watcher = notify::recommended_watcher(move |change: notify::Result<notify::Event>| {
            if change.as_ref().is_ok_and(|change| change.kind.is_access()) {
                return;
            }
            lock(&noted).note(change);
            let _ = sender.send(event.clone());
        })
        .map_err(error)?;
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .map_err(error)?;
        Ok(Self {
            folder: folder.to_owned(),
            files: Files::default(),
            seen: BTreeMap::new(),
            changed,
            _watcher: watcher,
        })
    }

    /// Reads what has changed; with `all`, everything. Of a file with errors, the objects that it no longer gives stay
    /// as they last were. A folder that cannot be read changes nothing, and is a problem.
    pub fn reload(&mut self, all: bool) -> Vec<Problem> {
        let Changed { names, mut lost } = std::mem::take(&mut *lock(&self.changed));
        lost |= all;
        let files = match list(&self.folder) {
            Ok(files) => files,
            Err(error) => {
                // What changed meanwhile is not known.
                lock(&self.changed).lost = true;
                return vec![unreadable(&self.folder, error)];
            }
        };
        let mut seen = BTreeMap::new();
        let mut texts = BTreeMap::new();
        for (name, path) in files {
            let now = fs::metadata(&path).ok().as_ref().map(FileStamp::new);
            let same = now.is_some() && self.seen.get(&name) == now.as_ref();
            if lost || !same || names.contains(&name) {
                match fs::read_to_string(&path) {
                    // Gone between the listing and the reading: as if it had never been listed.
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

    /// Policies and pods as last read.
    pub fn objects(&self) -> (Vec<Arc<Policy>>, Vec<Arc<Pod>>) {
        self.files.objects()
    }
}

/// What the kernel has told of since the last reading.
#[derive(Debug, Default)]
struct Changed {
    names: BTreeSet<String>,
    /// Not everything was told.
    lost: bool,
}

impl Changed {
    fn note(&mut self, change: notify::Result<notify::Event>) {
        match change {
            Ok(change) if !change.need_rescan() => {
                self.names.extend(change.paths.iter().map(|path| file_name(path)));
            }
            _ => self.lost = true,
        }
    }
}

fn lock(changed: &Mutex<Changed>) -> MutexGuard<'_, Changed> {
    changed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a file looks from outside. The folder's events do not name a file that is a link and now leads elsewhere, as all
/// do in a volume of a `ConfigMap`.
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

fn unreadable(folder: &Path, error: SourceError) -> Problem {
    Problem::new(
        format!("folder {}", folder.display()),
        "ManifestsUnreadable",
        format!("{:#}; the last state stays in force", anyhow::Error::new(error)),
        "make the folder readable again",
    )
}

/// Names and paths of the manifest files.
fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let error = |source| SourceError::Folder {
        path: folder.to_owned(),
        source,
    };
    let files = files(folder).map_err(error)?.into_iter();
    Ok(files.map(|path| (file_name(&path), path)).collect())
}

/// The manifest files of a folder, in order.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
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
