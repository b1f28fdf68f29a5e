//! The product's pinned maps, as the kernel sees them.

mod mapping;
mod torn;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;

use self::mapping::Mapping;
pub use self::torn::{Overwriter, TableSnapshot};

/// A pinned map.
#[derive(Clone, Debug)]
pub struct PinnedMap {
    /// Its name.
    pub name: String,
    /// Id of the map.
    pub id: u32,
    /// Bytes of one element, with the kernel's padding.
    pub element: usize,
    /// Maximum number of elements.
    pub room: usize,
    /// Number of elements that are not all zero; `None` if the map is not mmapable.
    pub used: Option<usize>,
    /// Bytes that the kernel accounts for the map.
    pub memory: f64,
}

/// Reads all maps that are pinned below a directory.
pub fn read(pin_dir: &Path) -> Result<Vec<PinnedMap>> {
    let mut tables = Vec::new();
    for path in maps(pin_dir)? {
        let info = MapInfo::from_pin(&path).with_context(|| format!("`{}`", path.display()))?;
        let fd = info.fd()?;
        let raw = fd.as_fd().as_raw_fd();
        tables.push(PinnedMap {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            id: info.id(),
            element: info.value_size().next_multiple_of(8) as usize,
            room: info.max_entries() as usize,
            used: Mapping::open(&path, false)?.map(|mapping| used(&mapping)),
            memory: memlock(raw)?,
        });
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tables)
}

fn maps(pin_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for abi in fs::read_dir(pin_dir).with_context(|| format!("`{}`", pin_dir.display()))? {
        let Ok(maps) = fs::read_dir(abi?.path().join("maps")) else {
            continue;
        };
        found.extend(maps.flatten().map(|entry| entry.path()));
    }
    Ok(found)
}

fn used(mapping: &Mapping) -> usize {
    mapping
        .copy()
        .chunks_exact(mapping.element)
        .filter(|chunk| chunk.iter().any(|byte| *byte != 0))
        .count()
}

fn memlock(fd: i32) -> Result<f64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.and_then(|value| value.trim().parse().ok())
        .context("the fdinfo of a map has no `memlock`")
}
