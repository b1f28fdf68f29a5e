//! Elements of hash maps as bytes: reads in batches, updates, deletes.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use crate::datapath::kernel::sys::{
    attr::{Element, LookupBatch},
    bpf, bpf_answered,
};

const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Elements of the first batch. A batch holds whole buckets of the hash, at least one.
const BATCH: usize = 4096;
/// More elements than any bucket of a hash with a random seed holds.
const LARGEST_BATCH: usize = 1 << 20;

/// The position of a batched read of a hash.
#[derive(Debug)]
pub(in crate::datapath) struct BatchCursor {
    position: Option<u32>,
    capacity: usize,
    ended: bool,
}

impl Default for BatchCursor {
    fn default() -> Self {
        Self {
            position: None,
            capacity: BATCH,
            ended: false,
        }
    }
}

/// Keys and values as bytes.
pub(in crate::datapath) type Elements<const K: usize, const V: usize> = Vec<([u8; K], [u8; V])>;

/// Reads the next elements (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6). Returns `None` at the end.
pub(in crate::datapath) fn batch<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    cursor: &mut BatchCursor,
) -> io::Result<Option<Elements<K, V>>> {
    while !cursor.ended {
        let mut keys = vec![[0_u8; K]; cursor.capacity];
        let mut values = vec![[0_u8; V]; cursor.capacity];
        let (mut from, mut next) = (cursor.position.unwrap_or(0), 0_u32);
        let mut attribute = LookupBatch {
            from: cursor.position.map_or(0, |_| &raw mut from as u64),
            next: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: cursor.capacity as u32,
            map: map.as_raw_fd() as u32,
            ..LookupBatch::default()
        };
        match bpf_answered(BPF_MAP_LOOKUP_BATCH, &mut attribute) {
            Ok(_) => cursor.position = Some(next),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => cursor.ended = true,
                // The next bucket does not fit.
                Some(libc::ENOSPC) if cursor.capacity < LARGEST_BATCH => {
                    cursor.capacity *= 2;
                    continue;
                }
                _ => return Err(error),
            },
        }
        let count = (attribute.count as usize).min(cursor.capacity);
        let found = keys.into_iter().zip(values).take(count);
        return Ok(Some(found.collect()));
    }
    Ok(None)
}

/// Whether an element may replace another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Update {
    /// Adds an element whose key is absent.
    Add = 1,
    /// Replaces an element whose key is present.
    Replace = 2,
}

/// Adds or replaces an element. Returns whether it did.
pub(in crate::datapath) fn update<const K: usize, const V: usize>(
    map: impl AsFd,
    (key, value): (&[u8; K], &[u8; V]),
    how: Update,
) -> io::Result<bool> {
    let mut attribute = element(map.as_fd(), key);
    attribute.value = value.as_ptr() as u64;
    attribute.flags = how as u64;
    let refused = match how {
        Update::Add => libc::EEXIST,
        Update::Replace => libc::ENOENT,
    };
    done(bpf(BPF_MAP_UPDATE_ELEM, &attribute), refused)
}

/// Deletes an element. Returns whether it was present.
pub(in crate::datapath) fn delete<const K: usize>(map: impl AsFd, key: &[u8; K]) -> io::Result<bool> {
    done(bpf(BPF_MAP_DELETE_ELEM, &element(map.as_fd(), key)), libc::ENOENT)
}

fn element<const K: usize>(map: BorrowedFd<'_>, key: &[u8; K]) -> Element {
    Element {
        map: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        ..Element::default()
    }
}

fn done(result: io::Result<libc::c_long>, already: libc::c_int) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(already) => Ok(false),
        Err(error) => Err(error),
    }
}
