//! Compiled rules. The agent writes a block once. The block is live as long as a slot's word leads to it, and
//! equal blocks are shared.
//!
//! The path of a look-up: [`PodBlock`] → (source address) → [`Class`] → (protocol, port) → action number →
//! [`ActionRecord`]. Sources are in a tree of blocks, at most [`SOURCE_LEVELS`] deep, and ports in a tree at
//! most [`PORT_LEVELS`] deep. A block is a list of sorted lower bounds, and a target for each of them. The
//! first bound is the smallest value that can reach the block. Unused elements repeat the last bound and its
//! target, so a search for any key ends at the last bound that is not larger than the key.

use super::{Action, Address};

/// Number of bounds in a block of sources.
pub const SOURCES: usize = 64;
/// Number of bounds in a block of ports: with their targets, one cache line.
pub const PORTS: usize = 16;
/// The most blocks between a class and an action: capacity for 16³ bounds.
pub const PORT_LEVELS: usize = 3;
/// The most blocks between a pod and a class: capacity for 64³ bounds.
pub const SOURCE_LEVELS: usize = 3;

/// The value of a slot: generation in the upper half, index of the [`PodBlock`] + 1 in the lower half. Zero
/// is an empty slot: all its packets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SlotWord(pub u64);

impl SlotWord {
    /// The word of an empty slot.
    pub const EMPTY: Self = Self(0);

    /// Returns a word that leads to `block`.
    pub const fn new(generation: u32, block: u32) -> Self {
        Self((generation as u64) << 32 | (block as u64 + 1))
    }

    /// Returns the block, if there is one.
    #[inline(always)]
    pub const fn block(self) -> Option<u32> {
        (self.0 as u32).checked_sub(1)
    }

    /// Returns how many times the word was changed.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What the programs need to know about a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PodBlock {
    /// Longest IP packet the pod's interface takes, in bytes.
    pub mtu: u32,
    /// Root of the tree of IPv4 sources.
    pub sources_v4: SourceRef,
    /// Root of the tree of IPv6 sources.
    pub sources_v6: SourceRef,
    /// MAC address of the pod's interface.
    pub mac: [u8; 6],
    /// The flags below.
    pub flags: u16,
    /// Index of the host's end of the pod's pair. Packets that come from there with the pod's address are
    /// the pod's own.
    pub host: u32,
}

impl PodBlock {
    /// The pod's interface cannot take redirects: they pass, counted as fallbacks.
    pub const NOT_READY: u16 = 1;
    /// The pod cannot take packets of [`super::ActionRecord::PEER`]: they pass, counted as fallbacks.
    pub const NO_PEER: u16 = 2;
    /// The programs of the pod's reply path are attached. Without them, redirects pass, counted as fallbacks.
    pub const REPLY_PATH: u16 = 4;
    /// No rule may redirect to the pod any more. Its established flows are drained: their packets still reach
    /// the pod past the stack, until the stack sees a packet of the flow.
    pub const DRAIN: u16 = 8;
    /// The administrator does not permit redirects in the pod's namespace: they pass, counted as fallbacks.
    /// Always with [`Self::NOT_READY`] and [`Self::NO_PEER`].
    pub const NOT_PERMITTED: u16 = 32;
    /// The flags of a pod in a namespace where redirects are not permitted. Its flows from before take the
    /// stack, too.
    pub const WITHOUT_PERMISSION: u16 = Self::NOT_PERMITTED | Self::NOT_READY | Self::NO_PEER;
    /// Several interfaces carry an address of the pod, and nothing tells which one is the pod's: redirects
    /// pass. Set only with [`PodBlock::NOT_READY`] and [`PodBlock::NO_PEER`].
    pub const ADDRESS_IN_DOUBT: u16 = 256;
}

/// A reference to a class, or to a block of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SourceRef(pub u32);

impl SourceRef {
    const CLASS: u32 = 1 << 31;

    /// Returns a reference to a class.
    pub const fn class(index: u32) -> Self {
        Self(Self::CLASS | index)
    }

    /// Returns a reference to a block of the same family.
    pub const fn block(index: u32) -> Self {
        Self(index)
    }

    /// Returns the class as `Ok`, or the block as `Err`.
    #[inline(always)]
    pub const fn get(self) -> Result<u32, u32> {
        if self.0 & Self::CLASS == 0 {
            Err(self.0)
        } else {
            Ok(self.0 & !Self::CLASS)
        }
    }
}

/// A block of IPv4 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourcesV4 {
    /// Lower bounds, in host byte order.
    pub bounds: [u32; SOURCES],
    /// The target from each bound on.
    pub targets: [SourceRef; SOURCES],
}

/// A block of IPv6 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourcesV6 {
    /// Lower bounds.
    pub bounds: [Address; SOURCES],
    /// The target from each bound on.
    pub targets: [SourceRef; SOURCES],
}

/// The rules for one set of sources.
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
    /// Action number of other protocols, and of later fragments, which have no ports.
    pub portless: u16,
    /// The columns below in which some rule drops: Drop, Reject or a rate limit, without Audit. A packet
    /// that cannot be parsed to its ports is dropped if it may belong to one of them.
    pub drops: u16,
}

impl Class {
    /// The column [`Class::tcp`].
    pub const TCP: u16 = 1;
    /// The column [`Class::udp`].
    pub const UDP: u16 = 1 << 1;
    /// The column [`Class::sctp`].
    pub const SCTP: u16 = 1 << 2;
    /// The column [`Class::icmp`].
    pub const ICMP: u16 = 1 << 3;
    /// The column [`Class::icmpv6`].
    pub const ICMPV6: u16 = 1 << 4;
    /// The action [`Class::portless`].
    pub const PORTLESS: u16 = 1 << 5;
    /// The columns of an IPv6 packet whose protocol is unknown.
    pub const ANY_V6: u16 = Self::TCP | Self::UDP | Self::SCTP | Self::ICMPV6 | Self::PORTLESS;
}

/// A reference to an action, or to a block of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PortRef(pub u32);

/// The target of a [`PortRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortTarget {
    /// The action number of all ports.
    Action(u16),
    /// A block whose targets are action numbers.
    Leaf(u16),
    /// A block whose targets are indexes of leaves.
    Top(u16),
    /// A block whose targets are indexes of top blocks.
    Root(u16),
}

impl PortRef {
    const LEAF: u32 = 1 << 16;
    const TOP: u32 = 2 << 16;
    const ROOT: u32 = 3 << 16;

    /// Returns a reference to `target`.
    pub const fn new(target: PortTarget) -> Self {
        Self(match target {
            PortTarget::Action(number) => number as u32,
            PortTarget::Leaf(index) => Self::LEAF | index as u32,
            PortTarget::Top(index) => Self::TOP | index as u32,
            PortTarget::Root(index) => Self::ROOT | index as u32,
        })
    }

    /// Returns the target.
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

/// A block of destination ports, or of ICMP types and codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Ports {
    /// Lower bounds.
    pub bounds: [u16; PORTS],
    /// The target from each bound on: action numbers in a leaf, indexes of blocks above.
    pub targets: [u16; PORTS],
}

/// Action number of packets that no rule matches. This element of [`super::maps::ACTIONS`] is unused.
pub const NO_MATCH: u16 = 0;

/// A rule: its action, and the action's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct ActionRecord {
    /// Index into [`super::maps::RULE_COUNTERS`], [`super::maps::RULE_LABELS`] and
    /// [`super::maps::RULE_LIMITS`].
    pub rule: u32,
    /// The mark, with [`ActionRecord::MARK`].
    pub mark: u32,
    /// An [`super::Action`].
    pub action: u8,
    /// The flags below.
    pub flags: u8,
    /// Number of the rule's namespace, if [`ActionRecord::shares`]: an index into
    /// [`super::maps::NAMESPACES`]. Otherwise zero.
    pub namespace: u16,
    /// Always zero.
    pub reserved: [u8; 4],
    /// Ticks per packet, with [`ActionRecord::LIMIT_RULE`] or [`ActionRecord::LIMIT_SOURCE`]; see the
    /// submodule for limits.
    pub interval: u64,
    /// Ticks of a burst: `interval` × burst.
    pub window: u64,
}

impl ActionRecord {
    /// Flag: `mark` goes into the metadata.
    pub const MARK: u8 = 1;
    /// Flag: count the packet, and pass it.
    pub const AUDIT: u8 = 2;
    /// Flag: the NIC's tc ingress program delivers redirects, not `XDP_REDIRECT`.
    pub const PEER: u8 = 4;
    /// Flag: one limit for all packets on this node that the rule matches.
    pub const LIMIT_RULE: u8 = 8;
    /// Flag: a limit for each source address.
    pub const LIMIT_SOURCE: u8 = 16;
    /// Flag: policies do not certainly allow the packets: a redirect passes, counted as fallback.
    pub const NOT_CERTAIN: u8 = 32;

    /// Whether the rule drops all packets or some of them.
    pub const fn drops(&self) -> bool {
        let is_drop = self.action == Action::Drop as u8 || self.action == Action::Reject as u8;
        self.flags & Self::AUDIT == 0 && is_drop || self.limits()
    }

    /// Whether the rule's namespace has a part of something that namespaces share.
    pub const fn shares(&self) -> bool {
        self.limits_sources() || self.answers()
    }

    /// Whether the rule needs room for the limits of sources.
    pub const fn limits_sources(&self) -> bool {
        self.flags & Self::AUDIT == 0 && self.flags & Self::LIMIT_SOURCE != 0
    }

    /// Whether the rule's packets are answered.
    pub const fn answers(&self) -> bool {
        self.flags & Self::AUDIT == 0 && self.action == Action::Reject as u8
    }

    /// Whether a rate limit applies.
    #[inline(always)]
    pub const fn limits(&self) -> bool {
        let limits = self.flags & (Self::LIMIT_RULE | Self::LIMIT_SOURCE);
        self.flags & Self::AUDIT == 0 && limits != 0
    }
}
