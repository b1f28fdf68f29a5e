//! What is remembered about flows whose packets go past the stack both ways.

use super::Address;

/// A flow: the addresses and ports of a packet on its way to a pod, as they are on the wire. For ICMP echo, the identifier
/// is in place of the remote port, and the pod's port is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Whoever talks to the pod.
    pub remote: Address,
    /// The pod.
    pub pod: Address,
    /// Source port of packets to the pod.
    pub remote_port: u16,
    /// Their destination port.
    pub pod_port: u16,
    /// IP protocol number.
    pub protocol: u32,
}

/// What is known about a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// The pod's slot when the flow began, or [`Flow::NO_SLOT`].
    pub slot: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Flow {
    /// The slot of a flow that was evicted while it was in use, and put back.
    pub const NO_SLOT: u32 = u32::MAX;
}

/// A packet that a pod sends in fragments, which all have this in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// The pod.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// The packet's identification.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// Flows in each of [`super::maps::ESTABLISHED`], [`super::maps::UNREPLIED`] and [`super::maps::STACK`], unless the loader says
/// otherwise.
pub const DEFAULT_FLOWS: u32 = 1 << 16;
/// The fewest that make sense: the kernel hands places out to its CPUs in bulks.
pub const MIN_FLOWS: u32 = 1 << 10;
/// The most: 1 GiB for all four tables.
pub const MAX_FLOWS: u32 = 1 << 22;
/// Packets in fragments that pods are sending at the same time.
pub const MAX_FRAGMENTS: u32 = 4096;

/// Elements of [`super::maps::RECENT`] for so many flows: a power of two.
pub const fn recent_places(flows: u32) -> u32 {
    (4 * flows).next_power_of_two()
}

/// On packets that leave past the stack, from the host's end of the pod's pair to the NIC, where it is taken off: the
/// program there knows them by it.
pub const REPLY_PATH_MARK: u32 = 0x5844_5742;
