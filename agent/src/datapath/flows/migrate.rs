//! Migrates flows to tables of another capacity, or from another layout with the same keys and values.
//!
//! The old programs use the old tables until they are replaced. So the old tables stay pinned and are read
//! several times: before the first program is replaced, and after the last one. What changed between two
//! reads is what the old programs did; it is repeated on the new tables.

use std::{
    collections::HashSet,
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use xdp_core::tables::FlowKey;

use crate::datapath::{
    Datapath,
    error::OpenError,
    flows::{FlowTable, RawFlow, unreadable},
    kernel::{
        pins::Pins,
        sys::{
            BatchCursor, Update, {self},
        },
    },
    tables, upgrade,
};

/// Prefixes of the directories with tables of this layout, and of other layouts.
const SAME: &str = "same-";
const OTHER: &str = "other-";

/// Parks the flow tables, unless they have the wanted capacity.
pub(in crate::datapath) fn park(pins: &Pins, flows: u32) -> Result<(), OpenError> {
    let mut differs = false;
    for (name, wanted) in tables::sized(flows) {
        let path = pins.map(name);
        if path.exists() {
            let map = sys::open_pin(&path).and_then(sys::map_shape);
            let (_, _, capacity) = map.map_err(|error| OpenError::pin("inspect", &path, error))?;
            differs |= capacity != wanted;
        }
    }
    if differs { move_tables(pins, pins) } else { Ok(()) }
}

/// Parks the flow tables of one layout's directory, for [`Migration::open`].
pub(in crate::datapath) fn move_tables(from: &Pins, to: &Pins) -> Result<(), OpenError> {
    let list = |error| OpenError::pin("list", &to.parked(), error);
    let prefix = if from.abi() == to.abi() { SAME } else { OTHER };
    let number = to
        .parked_numbers(prefix)
        .map_err(list)?
        .last()
        .map_or(0, |last| last + 1);
    let directory = to.parked().join(format!("{prefix}{number}"));
    let mut moved = false;
    for (name, _) in tables::sized(0) {
        let path = from.map(from.map_name(name));
        if path.exists() {
            fs::create_dir_all(&directory).map_err(|error| OpenError::pin("create", &directory, error))?;
            let kept = directory.join(name);
            fs::rename(&path, &kept).map_err(|error| OpenError::pin("move", &path, error))?;
            moved = true;
        }
    }
    if moved {
        tracing::info!(from = %from.abi().display(), "migrating flows to new tables");
    }
    Ok(())
}

/// A table that is being replaced.
struct OldTable {
    table: FlowTable,
    map: OwnedFd,
    /// Whether the table has another layout. Its programs then have event counters of their own.
    other_layout: bool,
    /// Hashes of the keys that the last read found.
    seen: HashSet<u64>,
}

/// The tables that are being replaced, until [`Datapath::finish_migration`].
///
/// Keys are kept as hashes, in a `HashSet`: a table can hold four million keys of 40 bytes. The order does
/// not matter.
pub(in crate::datapath) struct Migration {
    old: Vec<OldTable>,
    hasher: RandomState,
}

impl Migration {
    /// Opens the parked tables. Returns `None` if there are none.
    pub(in crate::datapath) fn open(pins: &Pins) -> Result<Option<Self>, OpenError> {
        let list = |error| OpenError::pin("list", &pins.parked(), error);
        let mut old = Vec::new();
        for prefix in [SAME, OTHER] {
            for number in pins.parked_numbers(prefix).map_err(list)? {
                let directory = pins.parked().join(format!("{prefix}{number}"));
                old.extend(tables_in(&directory, prefix == OTHER)?);
            }
        }
        let hasher = RandomState::new();
        Ok((!old.is_empty()).then_some(Self { old, hasher }))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }
}

fn tables_in(directory: &Path, other_layout: bool) -> Result<Vec<OldTable>, OpenError> {
    let mut found = Vec::new();
    for table in FlowTable::ALL {
        let path = directory.join(table.map());
        match sys::open_pin(&path) {
            Ok(map) if is_compatible(&map) => found.push(OldTable {
                table,
                map,
                other_layout,
                seen: HashSet::new(),
            }),
            Ok(_) => tracing::warn!(
                table = table.name(),
                "cannot migrate the flows of another layout, they continue in the stack"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::pin("open", &path, error)),
        }
    }
    Ok(found)
}

/// Whether keys and values have the sizes of this layout.
fn is_compatible(map: &OwnedFd) -> bool {
    let key = size_of::<FlowKey>() as u32;
    sys::map_shape(map).is_ok_and(|(found, value, _)| (found, value) == (key, 8))
}

impl Datapath {
    /// Whether a migration is in progress.
    pub const fn migrating(&self) -> bool {
        self.migration.is_some()
    }

    /// Repeats on the tables what changed in the old tables since the last call. Returns how many flows were
    /// added.
    pub fn migrate_flows(&mut self) -> Result<u64, OpenError> {
        let Some(mut migration) = self.migration.take() else {
            return Ok(0);
        };
        let copied = self.copy_all(&mut migration);
        self.migration = Some(migration);
        copied
    }

    fn copy_all(&mut self, migration: &mut Migration) -> Result<u64, OpenError> {
        let mut copied = 0;
        for index in 0..migration.old.len() {
            let (table, added, removed) = self.copy(migration, index)?;
            if migration.old[index].other_layout {
                // Migrated flows were never counted as opened here: without this, more would be present than
                // opened.
                self.count_removed(table, removed.wrapping_sub(added))?;
            }
            copied += added;
        }
        Ok(copied)
    }

    fn copy(&self, migration: &mut Migration, index: usize) -> Result<(FlowTable, u64, u64), OpenError> {
        let OldTable { table, map, seen, .. } = &migration.old[index];
        let table = *table;
        let failed = |error| unreadable(table, error);
        let new = table.open(&self.pinned.pins)?;
        let (mut added, mut now) = (0, HashSet::new());
        let mut cursor = BatchCursor::default();
        while let Some(batch) = sys::batch(map.as_fd(), &mut cursor).map_err(failed)? {
            for (key, value) in batch {
                let (key, value): RawFlow = (key, value);
                let hash = migration.hash(&key);
                now.insert(hash);
                if !seen.contains(&hash) {
                    added += u64::from(add(&new, (&key, &value)).map_err(failed)?);
                }
            }
        }
        let gone: HashSet<u64> = seen.difference(&now).copied().collect();
        let removed = if gone.is_empty() {
            0
        } else {
            remove(&new, |key| gone.contains(&migration.hash(key))).map_err(failed)?
        };
        migration.old[index].seen = now;
        Ok((table, added, removed))
    }

    /// Removes the old tables. No attached program may use them any more.
    pub fn finish_migration(&mut self) -> Result<(), OpenError> {
        if self.migration.take().is_some() {
            upgrade::remove_all(&self.pinned.pins.parked())?;
        }
        Ok(())
    }
}

/// Adds an element whose key is absent, if there is room for it. Returns whether it did.
fn add(map: &OwnedFd, element: (&[u8; size_of::<FlowKey>()], &[u8; 8])) -> io::Result<bool> {
    match sys::update(map, element, Update::Add) {
        Err(error) if error.raw_os_error() == Some(libc::E2BIG) => Ok(false),
        added => added,
    }
}

/// Deletes the elements whose key is `gone`. Returns how many.
fn remove(map: &OwnedFd, gone: impl Fn(&[u8]) -> bool) -> io::Result<u64> {
    let (mut removed, mut cursor) = (0, BatchCursor::default());
    while let Some(batch) = sys::batch(map.as_fd(), &mut cursor)? {
        let keys = batch.into_iter().map(|(key, value): RawFlow| (key, value));
        for (key, _) in keys.filter(|(key, _)| gone(key)) {
            removed += u64::from(sys::delete(map, &key)?);
        }
    }
    Ok(removed)
}
