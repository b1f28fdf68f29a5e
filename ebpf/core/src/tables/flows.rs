//! Entries of the tables of flows.

use super::Address;
use crate::parse::protocol;

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
    /// Established flows: the epoch in which the entry was looked up last. Unreplied ones: the window of
    /// [`FlowShare::opened`] in which the flow was inserted, and [`FlowValue::ANSWERED`].
    pub state: u32,
}

impl FlowValue {
    /// The slot of a flow that was evicted while it was in use, and inserted again by a reply.
    pub const NO_SLOT: u32 = u32::MAX;
    /// Bit of [`FlowValue::state`]: the pod has answered.
    pub const ANSWERED: u32 = 1 << 31;

    /// Returns the value of a flow in this epoch or window.
    #[inline(always)]
    pub const fn new(slot: u32, time: u32) -> Self {
        Self {
            slot,
            state: time & !Self::ANSWERED,
        }
    }

    /// Returns the same for a flow whose pod has answered.
    #[inline(always)]
    #[must_use]
    pub const fn answered(self) -> Self {
        Self {
            state: self.state | Self::ANSWERED,
            ..self
        }
    }

    /// Whether the pod has answered.
    #[inline(always)]
    pub const fn is_answered(self) -> bool {
        self.state & Self::ANSWERED != 0
    }

    /// Returns how many epochs ago an established flow was looked up. An entry of an agent that wrote no
    /// time there is old.
    #[inline(always)]
    pub const fn age(self, epoch: u32) -> u32 {
        epoch.wrapping_sub(self.state) & !Self::ANSWERED
    }
}

/// Classes of flows, each with shares of its own: TCP, UDP, and the rest.
pub const FLOW_CLASSES: u32 = 3;
/// Elements of [`super::maps::FLOW_SHARES`]: three for each slot, and for [`FlowValue::NO_SLOT`].
pub const FLOW_SHARES: u32 = (super::MAX_SLOTS + 1) * FLOW_CLASSES;

/// How much of the flow tables a pod's flows of one class may use, and do use. Each word has one kind of
/// writer: the agent writes `limits`, the programs the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowShare {
    /// [`FlowLimits`] in one word.
    pub limits: u64,
    /// Flows that were inserted into [`super::maps::ESTABLISHED`], less those that programs deleted there.
    /// Only differences have a meaning.
    pub established: u64,
    /// Flows that were inserted into [`super::maps::UNREPLIED`] in one window of time, less those that left
    /// it (lower half), and the window (upper half).
    pub opened: u64,
    /// Insertions that the limits have refused: into [`super::maps::ESTABLISHED`] (lower half), and into
    /// [`super::maps::UNREPLIED`] (upper half).
    pub refused: u64,
}

impl FlowShare {
    /// Returns the element of a flow.
    #[inline(always)]
    pub const fn index(slot: u32, protocol: u32) -> u32 {
        let slot = if slot < super::MAX_SLOTS {
            slot
        } else {
            super::MAX_SLOTS
        };
        let class = match protocol {
            TCP => 0,
            UDP => 1,
            _ => 2,
        };
        slot * FLOW_CLASSES + class
    }
}

const TCP: u32 = protocol::TCP as u32;
const UDP: u32 = protocol::UDP as u32;

/// The limits of a [`FlowShare`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLimits {
    /// [`FlowShare::established`] at which the share is used up.
    pub until: u32,
    /// Flows that may be opened in one window.
    pub opens: u32,
}

impl FlowLimits {
    /// Returns the limits as one word.
    pub const fn word(self) -> u64 {
        (self.opens as u64) << 32 | self.until as u64
    }

    /// Returns the limits of a word.
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        Self {
            until: word as u32,
            opens: (word >> 32) as u32,
        }
    }
}

/// What all fragments of a packet have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// The packet's source.
    pub source: Address,
    /// The packet's destination.
    pub destination: Address,
    /// The packet's identification.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// Elements of a set of [`super::maps::OPENED`].
pub const OPENED_WAYS: usize = 4;

/// Connections that pods opened: some flows with the same hash, each as 48 bits of its hash, and 16 bits of
/// the time when it was noted or seen last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenedSet {
    /// Zero: unused.
    pub words: [u64; OPENED_WAYS],
}

/// The packet that a pod sent last, on one CPU: as much of it as translation (NAT) leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SentPacket {
    /// The pod, whose interface the packet came from.
    pub pod: Address,
    /// The packet's source port, or what is in place of it in [`FlowKey::pod_port`].
    pub pod_port: u32,
    /// IP protocol number, and a bit for packets that bypass the stack.
    pub protocol: u32,
    /// Length of the IP packet.
    pub ip_len: u32,
    /// The time, in ticks of the kernel's clock (jiffies).
    pub tick: u32,
}

impl SentPacket {
    /// The packet bypasses the stack.
    const FORWARDED: u32 = 1 << 8;

    /// Returns the same for a packet that bypasses the stack.
    #[inline(always)]
    #[must_use]
    pub const fn forwarded(self) -> Self {
        Self {
            protocol: self.protocol | Self::FORWARDED,
            ..self
        }
    }

    /// Returns what is recorded of a packet that a pod sends at `tick`.
    #[inline(always)]
    pub const fn new(flow: &FlowKey, ip_len: u32, tick: u32) -> Self {
        Self {
            pod: flow.pod,
            pod_port: flow.pod_port as u32,
            protocol: flow.protocol,
            ip_len,
            tick,
        }
    }

    /// Whether this is the packet that `leaves` the node now. The stack forwards a packet at once, on the
    /// same CPU.
    #[inline(always)]
    pub fn is(&self, leaves: &Self) -> bool {
        self.pod == leaves.pod
            && self.pod_port == leaves.pod_port
            && self.protocol == leaves.protocol
            && self.ip_len == leaves.ip_len
            && leaves.tick.wrapping_sub(self.tick) <= 1
    }
}

/// Default capacity of each of [`super::maps::ESTABLISHED`], [`super::maps::UNREPLIED`] and
/// [`super::maps::STACK`].
pub const DEFAULT_FLOWS: u32 = 1 << 16;
/// Smallest capacity: the kernel reserves entries of an LRU hash for each CPU in batches.
pub const MIN_FLOWS: u32 = 1 << 10;
/// Largest capacity: 1 GiB for all four tables.
pub const MAX_FLOWS: u32 = 1 << 22;
/// Capacity of [`super::maps::FRAGMENTS`]: fragmented packets at the same time, in both directions.
pub const MAX_FRAGMENTS: u32 = 4096;

/// Returns the number of elements of [`super::maps::RECENT`] for this capacity: a power of two.
pub const fn recent_len(flows: u32) -> u32 {
    (4 * flows).next_power_of_two()
}
