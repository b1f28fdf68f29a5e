//! Assigns addresses to the index or to the hash.

use std::collections::BTreeMap;

use xdp_core::tables::{Address, IndexWord, index_position};

use crate::{change::Change, installed::Installed};

/// Desired slots of addresses.
pub(super) type Wanted = BTreeMap<Address, u32>;

/// Changes to apply in this order.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) additions: Vec<Change>,
    /// Removals from the hash.
    pub(super) removals: Vec<Change>,
    /// Whether an addition replaces an element that a running program may have read.
    pub(super) replaced: bool,
}

/// Each position of the index keeps its address while that is desired; otherwise it gets the lowest address
/// with this position. All other IPv4 addresses, and those of IPv6, are in the hash.
///
/// Additions to the hash come first, then changes to the index, then removals from the hash, so that programs
/// always find an address in one of them.
pub(super) fn changes(wanted: &Wanted, installed: &Installed) -> Steps {
    let (index, hash) = arrange(wanted, installed);
    let mut steps = Steps::default();
    let mut moved = Vec::new();
    for (address, slot) in &hash {
        let step = Change::SetAddress {
            address: *address,
            slot: *slot,
        };
        match installed.addresses.get(address) {
            None => steps.additions.push(step),
            Some(before) if before == slot => {}
            // The kernel reuses a replaced element of a hash for the next replacement, while a program may
            // still hold it (kernel/bpf/hashtab.c, preallocated maps). Without a fence, the program reads
            // another pod's slot.
            Some(_) => moved.extend([step, Change::Fence]),
        }
    }
    steps.additions.append(&mut moved);
    steps.place(&index, installed);
    steps.remove(wanted, &hash, installed);
    steps
}

/// Desired words of the index and elements of the hash.
fn arrange(wanted: &Wanted, installed: &Installed) -> (BTreeMap<u32, IndexWord>, Wanted) {
    let mut places = BTreeMap::<u32, Vec<(u32, u32)>>::new();
    let mut hash = Wanted::new();
    for (address, slot) in wanted {
        let v4 = address.low as u32;
        if address.is_v4() {
            places.entry(index_position(v4)).or_default().push((v4, *slot));
        } else {
            hash.insert(*address, *slot);
        }
    }
    let mut index = BTreeMap::new();
    for (position, addresses) in places {
        let there = installed.index.get(&position).and_then(|word| word.address());
        let stays = addresses.iter().position(|(v4, _)| Some(*v4) == there);
        let (v4, slot) = addresses[stays.unwrap_or(0)];
        index.insert(position, IndexWord::new(v4, slot, addresses.len() > 1));
        let others = addresses.into_iter().filter(|(other, _)| *other != v4);
        hash.extend(others.map(|(v4, slot)| (Address::v4(v4.to_be_bytes()), slot)));
    }
    (index, hash)
}

impl Steps {
    fn place(&mut self, index: &BTreeMap<u32, IndexWord>, installed: &Installed) {
        let gone = installed
            .index
            .keys()
            .filter(|position| !index.contains_key(position));
        let gone = gone.map(|position| (*position, IndexWord::EMPTY));
        for (position, word) in index
            .iter()
            .map(|(position, word)| (*position, *word))
            .chain(gone)
        {
            let before = installed.index.get(&position).copied().unwrap_or_default();
            if before != word {
                self.replaced |= before != IndexWord::EMPTY;
                self.additions.push(Change::SetIndex { position, word });
            }
        }
    }

    /// Returns the removals from the hash. A program that read the index before an address moved there still
    /// looks the address up in the hash.
    fn remove(&mut self, wanted: &Wanted, hash: &Wanted, installed: &Installed) {
        let lost = |address: &&Address| !hash.contains_key(address);
        let lost: Vec<Address> = installed.addresses.keys().filter(lost).copied().collect();
        if lost.iter().any(|address| wanted.contains_key(address)) {
            self.removals.push(Change::Fence);
        }
        let clear = |address| Change::ClearAddress { address };
        self.removals.extend(lost.into_iter().map(clear));
    }
}
