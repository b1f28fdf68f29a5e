//! A folder for the sockets of one machine.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::FilesError;

/// Short, because the path of a socket has at most 107 bytes.
const PREFIX: &str = "xdp-machine-";
const LOCK: &str = "lock";

/// A temporary folder. It is removed on drop; the folders of processes that were killed are removed by the
/// next process that makes one.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Locked as long as this process lives.
    _lock: File,
}

impl RunDirectory {
    pub(super) fn new() -> Result<Self, FilesError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = env::temp_dir();
        remove_abandoned(&parent);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{number}", process::id()));
        let lock = fs::create_dir(&path)
            .and_then(|()| File::create(path.join(LOCK)))
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(FilesError::file("create", &path))?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose process has ended: the kernel released their lock.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && is_abandoned(&entry.path()).unwrap_or(false)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> io::Result<bool> {
    Ok(File::open(folder.join(LOCK))?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_with_its_machine() {
        let directory = RunDirectory::new().unwrap();
        let path = directory.path().to_owned();
        fs::write(path.join("socket"), "").unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_of_a_killed_process_is_removed_by_the_next_one() {
        let parent = env::temp_dir().join(format!("run-directory-test-{}", process::id()));
        let (dead, alive) = (parent.join("xdp-machine-1-0"), parent.join("xdp-machine-2-0"));
        for folder in [&dead, &alive] {
            fs::create_dir_all(folder).unwrap();
        }
        File::create(dead.join(LOCK)).unwrap();
        let lock = File::create(alive.join(LOCK)).unwrap();
        lock.lock().unwrap();
        remove_abandoned(&parent);
        assert!(!dead.exists() && alive.exists());
        fs::remove_dir_all(parent).unwrap();
    }
}
