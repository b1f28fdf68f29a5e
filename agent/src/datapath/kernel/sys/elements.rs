//! Elements of hashes, as bytes: thousands at once where they are read.

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
/// Elements of a first batch: one holds all of a hash's chains that fit, and no less than one chain.
const BATCH: usize = 4096;
/// Longer than any chain of a hash with a random seed.
const LARGEST_BATCH: usize = 1 << 20;

/// Where a reading of a hash has got to.
#[derive(Debug)]
pub(in crate::datapath) struct BatchCursor {
    place: Option<u32>,
    room: usize,
    ended: bool,
}

impl Default for BatchCursor {
    fn default() -> Self {
        Self {
            place: None,
            room: BATCH,
            ended: false,
        }
    }
}

/// Keys and values as bytes.
pub(in crate::datapath) type Elements<const K: usize, const V: usize> = Vec<([u8; K], [u8; V])>;

/// The next elements (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6); `None` at the end.
pub(in crate::datapath) fn batch<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    at: &mut BatchCursor,
) -> io::Result<Option<Elements<K, V>>> {
    while !at.ended {
        let mut keys = vec![[0_u8; K]; at.room];
        let mut values = vec![[0_u8; V]; at.room];
        let (mut from, mut next) = (at.place.unwrap_or(0), 0_u32);
        let mut attribute = LookupBatch {
            from: at.place.map_or(0, |_| &raw mut from as u64),
            next: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: at.room as u32,
            map: map.as_raw_fd() as u32,
            ..LookupBatch::default()
        };
        match bpf_answered(BPF_MAP_LOOKUP_BATCH, &mut attribute) {
            Ok(_) => at.place = Some(next),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => at.ended = true,
                // A chain is longer than the room.
                Some(libc::ENOSPC) if at.room < LARGEST_BATCH => {
                    at.room *= 2;
                    continue;
                }
                _ => return Err(error),
            },
        }
        let count = (attribute.count as usize).min(at.room);
        let found = keys.into_iter().zip(values).take(count);
        return Ok(Some(found.collect()));
    }
    Ok(None)
}

/// Whether an element may replace another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Update {
    /// It is added.
    Add = 1,
    /// It replaces one that is there.
    Replace = 2,
}

/// Adds or replaces an element. Whether that could be done.
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

/// Takes an element out. Whether it was there.
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
