//! The tables of one pod in memory. The trees are built in the simplest way, not as the agent's compiler
//! does.

use std::{collections::BTreeMap, vec, vec::Vec};

use crate::{
    frames::StationTables,
    tables::{
        ActionRecord, Address, Class, IndexWord, Mac, NicEntry, PORTS, PodBlock, PortRef, PortTarget, Ports,
        Receiver, SOURCES, SlotWord, SourceRef, SourcesV4, SourcesV6, Station, TagId, index_position,
    },
    verdict::RuleTables,
};

/// The pod's slot.
pub const SLOT: u32 = 5;
/// Index of the host's end of the pod's pair.
const HOST: u32 = 12;
/// MAC address of [`NIC`].
pub const NIC_MAC: Mac = 0x0200_0000_0001;
/// The NIC of frames in tests: the loopback interface, where test runs take place.
pub const NIC: NicEntry = NicEntry {
    mac: NIC_MAC,
    ifindex: 1,
    reserved: 0,
    receiver: Receiver { device: 1, flags: 0 },
};

/// Returns the stations of [`NIC`]: untagged, VLAN 1, and VLAN 2 in it.
pub fn stations() -> BTreeMap<Station, Receiver> {
    let vlans = [[0, 0], [1, 0], [1, 2]].map(|tags| tags.map(TagId));
    let keys = vlans.into_iter().flat_map(|tags| {
        [NIC_MAC, Station::GROUP].map(|mac| Station {
            mac,
            nic: NIC.ifindex,
            tags,
        })
    });
    keys.map(|station| (station, NIC.receiver)).collect()
}

/// The tables of one pod at [`SLOT`].
#[derive(Clone, Debug, Default)]
pub struct PodModel {
    /// The NIC's element of [`crate::tables::maps::NICS`].
    pub nic: NicEntry,
    /// [`crate::tables::maps::STATIONS`].
    pub stations: BTreeMap<Station, Receiver>,
    /// [`crate::tables::maps::INDEX`].
    pub index: BTreeMap<u32, IndexWord>,
    /// [`crate::tables::maps::PODS`].
    pub hash: BTreeMap<Address, u32>,
    /// The slot's word.
    pub word: SlotWord,
    /// Whether the pod has a device.
    pub alive: bool,
    /// The pod's block.
    pub pod: PodBlock,
    /// [`crate::tables::maps::SOURCES_V4`].
    pub sources_v4: Vec<SourcesV4>,
    /// [`crate::tables::maps::SOURCES_V6`].
    pub sources_v6: Vec<SourcesV6>,
    /// [`crate::tables::maps::CLASSES`].
    pub classes: Vec<Class>,
    /// [`crate::tables::maps::PORT_BLOCKS`].
    pub ports: Vec<Ports>,
    /// [`crate::tables::maps::ACTIONS`].
    pub actions: BTreeMap<u16, ActionRecord>,
}

const POD_BLOCK: u32 = 3;

impl PodModel {
    /// Returns the tables of a pod with an IPv4 and an IPv6 address, and no rules.
    pub fn new(v4: [u8; 4], v6: Address) -> Self {
        let v4 = u32::from_be_bytes(v4);
        Self {
            nic: NIC,
            stations: stations(),
            index: BTreeMap::from([(index_position(v4), IndexWord::new(v4, SLOT, false))]),
            hash: BTreeMap::from([(v6, SLOT)]),
            word: SlotWord::new(1, POD_BLOCK),
            alive: true,
            classes: vec![Class::default()],
            pod: PodBlock {
                mtu: 1500,
                mac: [2, 0, 0, 0, 0, 9],
                flags: PodBlock::REPLY_PATH,
                host: HOST,
                sources_v4: SourceRef::class(0),
                sources_v6: SourceRef::class(0),
            },
            ..Self::default()
        }
    }

    /// Adds one rule for all packets.
    #[must_use]
    pub fn with_rule(mut self, record: ActionRecord) -> Self {
        self.actions.insert(1, record);
        let all = PortRef::new(PortTarget::Action(1));
        self.classes[0] = Class {
            tcp: all,
            udp: all,
            sctp: all,
            icmp: all,
            icmpv6: all,
            portless: 1,
            drops: if record.drops() { u16::MAX } else { 0 },
        };
        self
    }

    /// Builds a tree of IPv4 sources with `width` bounds in a block. The bounds are sorted, and the first is
    /// zero.
    pub fn add_sources_v4(&mut self, bounds: &[(u32, u32)], width: usize) -> SourceRef {
        let leaves = bounds
            .iter()
            .map(|(bound, class)| (*bound, SourceRef::class(*class)));
        let blocks = &mut self.sources_v4;
        tree(leaves.collect(), width, |chunk| {
            let (bounds, targets) = padded(chunk);
            blocks.push(SourcesV4 { bounds, targets });
            SourceRef::block(blocks.len() as u32 - 1)
        })
    }

    /// Builds a tree of IPv6 sources with `width` bounds in a block.
    pub fn add_sources_v6(&mut self, bounds: &[(u128, u32)], width: usize) -> SourceRef {
        let leaves = bounds
            .iter()
            .map(|(bound, class)| (Address::v6(bound.to_be_bytes()), SourceRef::class(*class)));
        let blocks = &mut self.sources_v6;
        tree(leaves.collect(), width, |chunk| {
            let (bounds, targets) = padded(chunk);
            blocks.push(SourcesV6 { bounds, targets });
            SourceRef::block(blocks.len() as u32 - 1)
        })
    }

    /// Builds a tree of ports with `width` bounds in a block, in one to three levels.
    pub fn add_ports(&mut self, bounds: &[(u16, u16)], width: usize) -> PortRef {
        if let [(0, action)] = bounds {
            return PortRef::new(PortTarget::Action(*action));
        }
        if bounds.len() <= width {
            return PortRef::new(PortTarget::Leaf(self.add_port_block(bounds)));
        }
        let leaves = self.add_port_level(bounds, width);
        if leaves.len() <= width {
            return PortRef::new(PortTarget::Top(self.add_port_block(&leaves)));
        }
        let tops = self.add_port_level(&leaves, width);
        PortRef::new(PortTarget::Root(self.add_port_block(&tops)))
    }

    fn add_port_level(&mut self, bounds: &[(u16, u16)], width: usize) -> Vec<(u16, u16)> {
        let mut block = |chunk: &[(u16, u16)]| (chunk[0].0, self.add_port_block(chunk));
        bounds.chunks(width).map(&mut block).collect()
    }

    fn add_port_block(&mut self, bounds: &[(u16, u16)]) -> u16 {
        let (bounds, targets) = padded::<_, _, PORTS>(bounds);
        self.ports.push(Ports { bounds, targets });
        self.ports.len() as u16 - 1
    }
}

/// Builds levels of blocks until one block is left.
fn tree<K: Copy>(
    mut nodes: Vec<(K, SourceRef)>,
    width: usize,
    mut block: impl FnMut(&[(K, SourceRef)]) -> SourceRef,
) -> SourceRef {
    assert!((2..=SOURCES).contains(&width));
    while nodes.len() > 1 {
        nodes = nodes
            .chunks(width)
            .map(|chunk| (chunk[0].0, block(chunk)))
            .collect();
    }
    nodes[0].1
}

/// Repeats the last bound and its target in unused elements.
fn padded<K: Copy, V: Copy, const N: usize>(chunk: &[(K, V)]) -> ([K; N], [V; N]) {
    let at = |index: usize| chunk[index.min(chunk.len() - 1)];
    (
        core::array::from_fn(|index| at(index).0),
        core::array::from_fn(|index| at(index).1),
    )
}

impl StationTables for PodModel {
    fn nic(&self, ifindex: u32) -> Option<&NicEntry> {
        (ifindex == self.nic.ifindex).then_some(&self.nic)
    }

    fn station(&self, station: &Station) -> Option<Receiver> {
        self.stations.get(station).copied()
    }
}

impl RuleTables for PodModel {
    fn index(&self, position: u32) -> Option<IndexWord> {
        Some(self.index.get(&position).copied().unwrap_or(IndexWord::EMPTY))
    }

    fn slot(&self, destination: &Address) -> Option<u32> {
        self.hash.get(destination).copied()
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        (slot == SLOT).then_some(self.word)
    }

    fn alive(&self, _: u32) -> bool {
        self.alive
    }

    fn pod(&self, index: u32) -> Option<&PodBlock> {
        (index == POD_BLOCK).then_some(&self.pod)
    }

    fn sources_v4(&self, index: u32) -> Option<&SourcesV4> {
        self.sources_v4.get(index as usize)
    }

    fn sources_v6(&self, index: u32) -> Option<&SourcesV6> {
        self.sources_v6.get(index as usize)
    }

    fn class(&self, index: u32) -> Option<&Class> {
        self.classes.get(index as usize)
    }

    fn ports(&self, index: u32) -> Option<&Ports> {
        self.ports.get(index as usize)
    }

    fn action(&self, number: u16) -> Option<&ActionRecord> {
        self.actions.get(&number)
    }
}
