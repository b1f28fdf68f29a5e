//! Where policies and pods come from: a folder of manifests, or a cluster; both are followed as they change.

mod state;
mod wanted;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::Sender,
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
        // A receiver that is gone means that the agent is stopping.
        let mut watcher = notify::recommended_watcher(move |change: notify::Result<notify::Event>| {
            if change.is_ok_and(|change| change.kind.is_access()) {
                return;
            }
            let _ = sender.send(event.clone());
        })
        .map_err(error)?;
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .map_err(error)?;
        Ok(Self {
            folder: folder.to_owned(),
            files: Files::default(),
            _watcher: watcher,
        })
    }

    /// Reads what has changed. Of a file with errors, the objects that it no longer gives stay as they last were.
    /// A folder that cannot be read changes nothing, and is a problem.
    pub fn reload(&mut self) -> Vec<Problem> {
        match list(&self.folder) {
            Ok(texts) => self.files.update(texts),
            Err(error) => {
                return vec![Problem::new(
                    format!("folder {}", self.folder.display()),
                    "ManifestsUnreadable",
                    format!("{:#}; the last state stays in force", anyhow::Error::new(error)),
                    "make the folder readable again",
                )];
            }
        }
        self.files.problems()
    }

    /// Policies and pods as last read.
    pub fn objects(&self) -> (Vec<Policy>, Vec<Pod>) {
        self.files.objects()
    }
}

/// Names and contents of the manifest files; a file that cannot be read carries the error instead.
fn list(folder: &Path) -> Result<BTreeMap<String, io::Result<String>>, SourceError> {
    let error = |source| SourceError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut texts = BTreeMap::new();
    for path in files(folder).map_err(error)? {
        match fs::read_to_string(&path) {
            // Gone between the listing and the reading: as if it had never been listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => drop(texts.insert(file_name(&path), text)),
        }
    }
    Ok(texts)
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
