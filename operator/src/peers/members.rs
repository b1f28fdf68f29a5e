//! The addresses of one set, divided into slices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The largest number of addresses in a slice.
pub const LARGEST: usize = xdp_crds::limits::ADDRESSES;

/// The addresses of a set, each in one slice. An address stays in its slice, so that a change of one pod
/// changes one slice. There is at least one slice.
#[derive(Clone, Debug)]
pub struct Members {
    addresses: BTreeMap<IpAddr, Member>,
    /// The number of addresses of each slice.
    sizes: Vec<usize>,
    /// Slices that may differ from the stored ones.
    dirty: BTreeSet<u32>,
    largest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// The number of pods that have the address: a new pod may have it before its last owner is gone.
    pods: u32,
    slice: u32,
}

impl Members {
    /// Creates a set from its addresses, one entry for each pod, and the stored slices. Each address stays in
    /// the slice in which it is stored.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = IpAddr>,
        stored: impl IntoIterator<Item = (u32, &'a [IpAddr])>,
    ) -> Self {
        Self::with_largest(addresses, stored, LARGEST)
    }

    fn with_largest<'a>(
        addresses: impl IntoIterator<Item = IpAddr>,
        stored: impl IntoIterator<Item = (u32, &'a [IpAddr])>,
        largest: usize,
    ) -> Self {
        let mut counts = BTreeMap::<IpAddr, u32>::new();
        for address in addresses {
            *counts.entry(address).or_default() += 1;
        }
        let mut members = Self {
            addresses: BTreeMap::new(),
            sizes: vec![0],
            dirty: BTreeSet::from([0]),
            largest,
        };
        // A slice with a larger number would only leave gaps.
        let bound = 2 * counts.len().div_ceil(largest).max(1);
        for (slice, listed) in stored {
            if (slice as usize) < bound {
                members.adopt(slice, listed, &mut counts);
            }
        }
        for (address, pods) in counts {
            members.place(address, pods);
        }
        members.shrink();
        // Nothing is known to be equal to what is stored.
        members.dirty = (0..members.slice_count()).collect();
        members
    }

    fn adopt(&mut self, slice: u32, listed: &[IpAddr], counts: &mut BTreeMap<IpAddr, u32>) {
        if self.sizes.len() <= slice as usize {
            self.sizes.resize(slice as usize + 1, 0);
        }
        for address in listed {
            if self.sizes[slice as usize] == self.largest {
                return;
            }
            if let Some(pods) = counts.remove(address) {
                self.sizes[slice as usize] += 1;
                self.addresses.insert(*address, Member { pods, slice });
            }
        }
    }

    /// Adds an address of a pod.
    pub fn insert(&mut self, address: IpAddr) {
        match self.addresses.get_mut(&address) {
            Some(member) => member.pods += 1,
            None => self.place(address, 1),
        }
    }

    /// Replaces the addresses of a pod. A new one takes the place of one that goes: both are one write.
    pub fn replace(&mut self, before: &[IpAddr], after: &[IpAddr]) {
        for gone in before.iter().filter(|address| !after.contains(address)) {
            self.release(gone);
        }
        for new in after.iter().filter(|address| !before.contains(address)) {
            self.insert(*new);
        }
        self.shrink();
    }

    /// Removes an address of a pod.
    pub fn remove(&mut self, address: &IpAddr) {
        self.release(address);
        self.shrink();
    }

    fn release(&mut self, address: &IpAddr) {
        let Some(member) = self.addresses.get_mut(address) else {
            return;
        };
        member.pods -= 1;
        let (pods, slice) = (member.pods, member.slice);
        if pods == 0 {
            self.addresses.remove(address);
            self.sizes[slice as usize] -= 1;
            self.dirty.insert(slice);
        }
    }

    /// Puts an address into a slice with room: one that is written anyway, or the first, or a new one.
    fn place(&mut self, address: IpAddr, pods: u32) {
        let has_room = |slice: &u32| self.sizes[*slice as usize] < self.largest;
        let dirty = self.dirty.iter().copied().find(has_room);
        let slice = dirty.or_else(|| (0..self.slice_count()).find(has_room));
        let slice = slice.unwrap_or_else(|| {
            self.sizes.push(0);
            // Slice 0 has the number of slices.
            self.dirty.insert(0);
            self.slice_count() - 1
        });
        self.sizes[slice as usize] += 1;
        self.dirty.insert(slice);
        self.addresses.insert(address, Member { pods, slice });
    }

    /// Removes empty slices at the end. If half of the slices suffice, moves the addresses of the others.
    fn shrink(&mut self) {
        let needed = self.addresses.len().div_ceil(self.largest).max(1);
        if self.sizes.len() >= 2 * needed {
            let moved: Vec<(IpAddr, u32)> = self
                .addresses
                .iter()
                .filter(|(_, member)| member.slice as usize >= needed)
                .map(|(address, member)| (*address, member.pods))
                .collect();
            self.truncate(needed);
            for (address, pods) in moved {
                self.addresses.remove(&address);
                self.place(address, pods);
            }
        }
        while self.sizes.len() > 1 && self.sizes.last() == Some(&0) {
            self.truncate(self.sizes.len() - 1);
        }
    }

    fn truncate(&mut self, slices: usize) {
        if slices < self.sizes.len() {
            self.sizes.truncate(slices);
            self.dirty.split_off(&(slices as u32));
            self.dirty.insert(0);
        }
    }

    /// Returns the number of slices.
    pub fn slice_count(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// Returns the number of addresses.
    pub fn address_count(&self) -> usize {
        self.addresses.len()
    }

    /// Returns the addresses of a slice, in order.
    pub fn slice(&self, number: u32) -> Vec<IpAddr> {
        let mut found = Vec::with_capacity(self.sizes[number as usize]);
        let all = self.addresses.iter();
        found.extend(
            all.filter(|(_, member)| member.slice == number)
                .map(|(address, _)| *address),
        );
        found
    }

    /// Marks a slice as one that may differ from the stored one.
    pub fn mark(&mut self, number: u32) {
        if number < self.slice_count() {
            self.dirty.insert(number);
        }
    }

    /// Returns the slice to compare next: slice 0, which has the number of slices, comes last.
    pub fn next_dirty(&self) -> Option<u32> {
        self.dirty
            .range(1..)
            .next()
            .or_else(|| self.dirty.first())
            .copied()
    }

    /// Returns whether no other slice may differ from the stored one.
    pub fn only_dirty(&self, number: u32) -> bool {
        self.dirty.iter().all(|dirty| *dirty == number)
    }

    /// Records that a slice equals the stored one.
    pub fn is_stored(&mut self, number: u32) {
        self.dirty.remove(&number);
    }
}

#[cfg(test)]
mod tests;
