//! Flows of tables that others replace: of another capacity, or of another layout with the same keys and values.
//!
//! The old programs go on with the old tables until they are exchanged, so the tables are kept, and read several times: before
//! the first program is exchanged, and after the last one. What has changed between two readings is what the old
//! programs did, and is done to the new tables as well.

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

/// Names of directories with tables of this layout, and of others.
const SAME: &str = "same-";
const OTHER: &str = "other-";

/// Moves the tables away, unless they have the capacity that is wanted.
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

/// Moves the tables of flows from one layout's directory to where they are read from; those of tags are worth nothing.
pub(in crate::datapath) fn move_tables(from: &Pins, to: &Pins) -> Result<(), OpenError> {
    let list = |error| OpenError::pin("list", &to.aside(), error);
    let prefix = if from.abi() == to.abi() { SAME } else { OTHER };
    let number = to.asides(prefix).map_err(list)?.last().map_or(0, |last| last + 1);
    let directory = to.aside().join(format!("{prefix}{number}"));
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
        tracing::info!(from = %from.abi().display(), "flows are carried over to new tables");
    }
    Ok(())
}

/// A table that is replaced.
struct Old {
    table: FlowTable,
    map: OwnedFd,
    /// Its programs count elsewhere.
    other: bool,
    /// Hashes of the keys that the last reading found.
    seen: HashSet<u64>,
}

/// Tables that are replaced, until [`Datapath::finish_migration`].
pub(in crate::datapath) struct Migration {
    old: Vec<Old>,
    hasher: RandomState,
}

impl Migration {
    /// What is kept, if anything is.
    pub(in crate::datapath) fn open(pins: &Pins) -> Result<Option<Self>, OpenError> {
        let list = |error| OpenError::pin("list", &pins.aside(), error);
        let mut old = Vec::new();
        for prefix in [SAME, OTHER] {
            for number in pins.asides(prefix).map_err(list)? {
                let directory = pins.aside().join(format!("{prefix}{number}"));
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

fn tables_in(directory: &Path, other: bool) -> Result<Vec<Old>, OpenError> {
    let mut found = Vec::new();
    for table in FlowTable::ALL {
        let path = directory.join(table.map());
        match sys::open_pin(&path) {
            Ok(map) if is_understood(&map) => found.push(Old {
                table,
                map,
                other,
                seen: HashSet::new(),
            }),
            Ok(_) => tracing::warn!(table = table.name(), "flows of another layout go on in the stack"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::pin("open", &path, error)),
        }
    }
    Ok(found)
}

/// Keys and values are as large as ours.
fn is_understood(map: &OwnedFd) -> bool {
    let key = size_of::<FlowKey>() as u32;
    sys::map_shape(map).is_ok_and(|(found, value, _)| (found, value) == (key, 8))
}

impl Datapath {
    /// Whether there are flows in tables that are replaced.
    pub const fn carries(&self) -> bool {
        self.migration.is_some()
    }

    /// Does to the tables what was done to those that they replace since the last time. How many flows came over.
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
            let (table, came, went) = self.copy(migration, index)?;
            if migration.old[index].other {
                // Or there could be more here than has ever come.
                self.count_removed(table, went.wrapping_sub(came))?;
            }
            copied += came;
        }
        Ok(copied)
    }

    fn copy(&self, migration: &mut Migration, index: usize) -> Result<(FlowTable, u64, u64), OpenError> {
        let Old { table, map, seen, .. } = &migration.old[index];
        let table = *table;
        let failed = |error| unreadable(table, error);
        let new = table.open(&self.pinned.pins)?;
        let (mut came, mut now) = (0, HashSet::new());
        let mut at = BatchCursor::default();
        while let Some(batch) = sys::batch(map.as_fd(), &mut at).map_err(failed)? {
            for (key, value) in batch {
                let (key, value): RawFlow = (key, value);
                let hash = migration.hash(&key);
                now.insert(hash);
                if !seen.contains(&hash) {
                    let added = sys::update(&new, (&key, &value), Update::Add);
                    came += u64::from(added.map_err(failed)?);
                }
            }
        }
        let gone: HashSet<u64> = seen.difference(&now).copied().collect();
        let went =
            remove(&new, |key| gone.contains(&migration.hash(key)), gone.is_empty()).map_err(failed)?;
        migration.old[index].seen = now;
        Ok((table, came, went))
    }

    /// Lets go of the tables that were replaced: no program of ours uses them any more.
    pub fn finish_migration(&mut self) -> Result<(), OpenError> {
        if self.migration.take().is_some() {
            upgrade::remove_all(&self.pinned.pins.aside())?;
        }
        Ok(())
    }
}

/// Takes out of a table what is `gone`. How many elements that were.
fn remove(map: &OwnedFd, gone: impl Fn(&[u8]) -> bool, nothing: bool) -> io::Result<u64> {
    let (mut removed, mut at) = (0, BatchCursor::default());
    if nothing {
        return Ok(0);
    }
    while let Some(batch) = sys::batch(map.as_fd(), &mut at)? {
        let keys = batch.into_iter().map(|(key, value): RawFlow| (key, value));
        for (key, _) in keys.filter(|(key, _)| gone(key)) {
            removed += u64::from(sys::delete(map, &key)?);
        }
    }
    Ok(removed)
}
