//! The compiled rules: blocks that are written once, used as long as a slot's word leads to them, and shared by all that
//! are equal.
//!
//! A packet's way: [`PodBlock`] → (source address) → [`Class`] → (protocol, port) → action number → [`ActionRecord`].
//! Sources are found in a tree of blocks of sorted lower bounds, at most [`SOURCE_LEVELS`] deep, ports in one at most
//! [`PORT_LEVELS`] deep. In every block the first bound is the smallest value that can get there, and what is not used repeats the last
//! bound with its value: so a search always ends at the last bound that is not larger than the key, whatever the key.

use super::Address;

/// Bounds of a block of sources.
pub const SOURCES: usize = 64;
/// Bounds of a block of ports: with their values, one cache line.
pub const PORTS: usize = 16;
/// Blocks on the longest way from a class to an action: room for 16³ bounds.
pub const PORT_LEVELS: usize = 3;
/// Blocks on the longest way from a pod to a class: room for 64³ bounds.
pub const SOURCE_LEVELS: usize = 3;

/// What a slot points at: generation in the upper half, index of the [`PodBlock`] + 1 in the lower one. Zero is an empty
/// slot: all its packets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SlotWord(pub u64);

impl SlotWord {
    /// The word of an empty slot.
    pub const EMPTY: Self = Self(0);

    /// A word that points at `block`.
    pub const fn new(generation: u32, block: u32) -> Self {
        Self((generation as u64) << 32 | (block as u64 + 1))
    }

    /// The block, if there is one.
    #[inline(always)]
    pub const fn block(self) -> Option<u32> {
        (self.0 as u32).checked_sub(1)
    }

    /// How often this slot was flipped.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// All the program needs about one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PodBlock {
    /// Longest IP packet the pod's interface takes, in bytes.
    pub mtu: u32,
    /// Where IPv4 sources are looked up.
    pub sources_v4: SourceRef,
    /// Where IPv6 sources are looked up.
    pub sources_v6: SourceRef,
    /// Link-layer address of the pod's interface.
    pub mac: [u8; 6],
    /// The constants below.
    pub flags: u16,
}

impl PodBlock {
    /// The pod cannot take redirects: they are counted as fallbacks, and passed.
    pub const NOT_READY: u16 = 1;
    /// The pod cannot be delivered to by [`super::ActionRecord::PEER`]: the same.
    pub const NO_PEER: u16 = 2;
    /// The programs that see the pod's replies are in place. Without this, no redirect is tried.
    pub const REPLY_PATH: u16 = 4;
    /// No rule selects the pod any more: flows that it has answered are still delivered, and handed to the stack as it
    /// takes part in them.
    pub const DRAIN: u16 = 8;
}

/// Leads to a class, or to a block of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SourceRef(pub u32);

impl SourceRef {
    const CLASS: u32 = 1 << 31;

    /// The class of all sources that get here.
    pub const fn class(index: u32) -> Self {
        Self(Self::CLASS | index)
    }

    /// A block of the same family.
    pub const fn block(index: u32) -> Self {
        Self(index)
    }

    /// The class, if this leads to one; otherwise the block.
    #[inline(always)]
    pub const fn get(self) -> Result<u32, u32> {
        if self.0 & Self::CLASS == 0 {
            Err(self.0)
        } else {
            Ok(self.0 & !Self::CLASS)
        }
    }
}

/// IPv4 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourcesV4 {
    /// First addresses, in host byte order.
    pub lower: [u32; SOURCES],
    /// What holds from there on.
    pub then: [SourceRef; SOURCES],
}

/// IPv6 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourcesV6 {
    /// First addresses.
    pub lower: [Address; SOURCES],
    /// What holds from there on.
    pub then: [SourceRef; SOURCES],
}

/// What becomes of packets from one set of sources: those to which the same rules apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Class {
    /// TCP, by destination port.
    pub tcp: PortRef,
    /// UDP, by destination port.
    pub udp: PortRef,
    /// SCTP, by destination port.
    pub sctp: PortRef,
    /// ICMP, by type × 256 + code.
    pub icmp: PortRef,
    /// `ICMPv6`, by type × 256 + code.
    pub icmpv6: PortRef,
    /// Action number of all else: other protocols, and fragments but the first, which have no ports.
    pub portless: u16,
    /// Always zero.
    pub reserved: u16,
}

/// Leads to an action, or to a block of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PortRef(pub u32);

/// Where a [`PortRef`] leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortTarget {
    /// The action number of all ports.
    Action(u16),
    /// A block whose values are action numbers.
    Leaf(u16),
    /// A block whose values are indexes of leaves.
    Top(u16),
    /// A block whose values are indexes of those.
    Root(u16),
}

impl PortRef {
    const LEAF: u32 = 1 << 16;
    const TOP: u32 = 2 << 16;
    const ROOT: u32 = 3 << 16;

    /// A reference to `target`.
    pub const fn new(target: PortTarget) -> Self {
        Self(match target {
            PortTarget::Action(number) => number as u32,
            PortTarget::Leaf(index) => Self::LEAF | index as u32,
            PortTarget::Top(index) => Self::TOP | index as u32,
            PortTarget::Root(index) => Self::ROOT | index as u32,
        })
    }

    /// Where it leads.
    #[inline(always)]
    pub const fn get(self) -> PortTarget {
        let index = self.0 as u16;
        match self.0 & !0xffff {
            Self::LEAF => PortTarget::Leaf(index),
            Self::TOP => PortTarget::Top(index),
            Self::ROOT => PortTarget::Root(index),
            _ => PortTarget::Action(index),
        }
    }
}

/// Destination ports, or types and codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Ports {
    /// First ports.
    pub lower: [u16; PORTS],
    /// What holds from there on: action numbers in a leaf, indexes of blocks above.
    pub then: [u16; PORTS],
}

/// Action number of packets that no rule matches; [`super::maps::ACTIONS`] has nothing there.
pub const NO_MATCH: u16 = 0;

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct ActionRecord {
    /// Index into [`super::maps::RULE_COUNTERS`], [`super::maps::RULE_LABELS`] and [`super::maps::RULE_LIMITS`].
    pub rule: u32,
    /// What [`ActionRecord::MARK`] says is carried.
    pub mark: u32,
    /// An [`super::Action`].
    pub action: u8,
    /// The constants below.
    pub flags: u8,
    /// Always zero.
    pub reserved: [u8; 6],
    /// Ticks per packet, with [`ActionRecord::LIMIT_RULE`] or [`ActionRecord::LIMIT_SOURCE`]; see the submodule for limits.
    pub interval: u64,
    /// Ticks of all packets that may come at once: `interval` × burst.
    pub window: u64,
}

impl ActionRecord {
    /// `mark` goes into the metadata.
    pub const MARK: u8 = 1;
    /// Count, and pass.
    pub const AUDIT: u8 = 2;
    /// A redirect is delivered by the program behind the NIC's stack entry, not by `XDP_REDIRECT`.
    pub const PEER: u8 = 4;
    /// One limit for all packets that the rule matches on this node.
    pub const LIMIT_RULE: u8 = 8;
    /// A limit for each source address.
    pub const LIMIT_SOURCE: u8 = 16;

    /// Whether packets have to keep to a limit.
    #[inline(always)]
    pub const fn limits(&self) -> bool {
        let limits = self.flags & (Self::LIMIT_RULE | Self::LIMIT_SOURCE);
        self.flags & Self::AUDIT == 0 && limits != 0
    }
}
