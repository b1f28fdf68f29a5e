//! Entries of the tables of flows.

use super::Address;

/// A flow: addresses and ports of its packets to the pod, as on the wire. For ICMP echo, the identifier is in
/// place of the remote port, and the pod's port is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The pod's peer.
    pub remote: Address,
    /// The pod.
    pub pod: Address,
    /// Source port of packets to the pod.
    pub remote_port: u16,
    /// Destination port of packets to the pod.
    pub pod_port: u16,
    /// IP protocol number.
    pub protocol: u32,
}

/// The value of a flow in [`super::maps::ESTABLISHED`] and [`super::maps::UNREPLIED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowValue {
    /// The pod's slot when the flow was inserted, or [`FlowValue::NO_SLOT`].
    pub slot: u32,
    /// Always zero.
    pub reserved: u32,
}

impl FlowValue {
    /// The slot of a flow that was evicted while it was in use, and inserted again by a reply.
    pub const NO_SLOT: u32 = u32::MAX;
}

/// What all fragments of a packet from a pod have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// The pod.
    pub source: Address,
    /// The packet's destination.
    pub destination: Address,
    /// The packet's identification.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// Default capacity of each of [`super::maps::ESTABLISHED`], [`super::maps::UNREPLIED`] and
/// [`super::maps::STACK`].
pub const DEFAULT_FLOWS: u32 = 1 << 16;
/// Smallest capacity: the kernel reserves entries of an LRU hash for each CPU in batches.
pub const MIN_FLOWS: u32 = 1 << 10;
/// Largest capacity: 1 GiB for all four tables.
pub const MAX_FLOWS: u32 = 1 << 22;
/// Capacity of [`super::maps::FRAGMENTS`]: fragmented packets that pods send at the same time.
pub const MAX_FRAGMENTS: u32 = 4096;

/// Returns the number of elements of [`super::maps::RECENT`] for this capacity: a power of two.
pub const fn recent_len(flows: u32) -> u32 {
    (4 * flows).next_power_of_two()
}

/// The skb mark of replies that bypass the stack, between the pod's host-side interface and the NIC. The
/// program on the NIC recognises them by it, and clears it.
pub const REPLY_PATH_MARK: u32 = 0x5844_5742;
