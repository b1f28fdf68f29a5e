//! The folder with the logs.

use std::{fs, path::PathBuf};

use super::artifacts::repository;

/// Creates the folder for the logs of a cluster, on disk, because logs are read after the cluster is removed.
/// Keeps those of the last clusters.
pub(super) fn folder(id: &str) -> anyhow::Result<PathBuf> {
    const KEPT: usize = 20;
    let all = repository().join(".tools/cluster-logs");
    let folder = all.join(id);
    // Removes the logs of an earlier process with the same id.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut older: Vec<_> = fs::read_dir(&all)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    older.sort();
    let excess = older.len().saturating_sub(KEPT);
    for (_, path) in older.into_iter().take(excess) {
        // Another process may have removed it.
        let _ = fs::remove_dir_all(path);
    }
    Ok(folder)
}
