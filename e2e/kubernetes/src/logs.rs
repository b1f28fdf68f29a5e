//! Where the logs are.

use std::{fs, path::PathBuf};

use super::artifacts::repository;

/// On disk, because what went wrong is looked at when the cluster is gone. Those of the last few clusters stay.
pub(super) fn folder(id: &str) -> anyhow::Result<PathBuf> {
    const KEPT: usize = 20;
    let all = repository().join(".tools/cluster-logs");
    let folder = all.join(id);
    // Of a process that had the same number.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut older: Vec<_> = fs::read_dir(&all)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    older.sort();
    let superfluous = older.len().saturating_sub(KEPT);
    for (_, path) in older.into_iter().take(superfluous) {
        // Somebody else may have been faster.
        let _ = fs::remove_dir_all(path);
    }
    Ok(folder)
}
