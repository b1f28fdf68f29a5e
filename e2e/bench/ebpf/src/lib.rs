//! The types and constants that the suite and its eBPF programs share.
#![no_std]

/// Length of every frame that is fed.
pub const FRAME: usize = 64;
/// Frames of one set, each of another flow, so that caches and branch predictors do not adapt to one packet.
pub const FLOWS: u32 = 4096;
/// Number of sets in the map.
pub const SETS: u32 = 32;
/// Maximum of rules of the linear rival for one pod.
pub const LINEAR: usize = 256;
/// Length of the metadata that the rivals write, as long as the product's.
pub const METADATA: usize = 16;
/// First two bytes of the metadata of the product and the rivals.
pub const MAGIC: u16 = 0x5844;
/// First bytes of the source MAC address of a frame with an expected mark; the mark is in the other four
/// bytes.
pub const EXPECTS: [u8; 2] = [0x02, 0xbe];

/// The bytes of a frame.
pub type FrameBytes = [u8; FRAME];

/// Instructions for the feeder.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FeederPlan {
    /// First frame of the set.
    pub base: u32,
    /// Number of frames minus one: a power of two minus one.
    pub mask: u32,
    /// Packets of the whole trial, on one CPU.
    pub total: u64,
}

/// Progress of the feeder on one CPU. Times are of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FeederProgress {
    /// Packets so far.
    pub count: u64,
    /// Time of the first packet.
    pub first: u64,
    /// Time of the last packet of the plan.
    pub last: u64,
}

/// Counts of the receivers in pods, on one CPU.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ReceivedPackets {
    /// All packets.
    pub packets: u64,
    /// Packets with an expected mark.
    pub expecting: u64,
    /// Packets with the expected metadata and skb mark.
    pub right: u64,
    /// Packets with another skb mark.
    pub wrong: u64,
}

/// A pod in the rivals' table.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RivalPod {
    /// Its policy.
    pub policy: u32,
    /// Its key in the devmap.
    pub slot: u32,
    /// How many rules it has.
    pub rules: u32,
    /// MAC address of its interface.
    pub mac: [u8; 6],
    /// Always zero.
    pub reserved: [u8; 2],
}

/// A rule of the linear rival. Addresses are in host byte order.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct LinearRule {
    /// The source's network.
    pub network: u32,
    /// Its netmask.
    pub mask: u32,
    /// First port.
    pub low: u16,
    /// Last port.
    pub high: u16,
    /// Action and number as [`verdict`] packs them.
    pub verdict: u32,
    /// IP protocol.
    pub protocol: u32,
}

/// All rules of a pod.
pub type LinearRules = [LinearRule; LINEAR];

/// Key of the two-LPM rival's first trie, behind the prefix length: policy and source address, both big
/// endian.
pub type SourceKey = [u8; 8];
/// Key of its second trie: policy and class (both big endian), protocol, zero, port (big endian).
pub type PortKey = [u8; 12];

/// Flag of a verdict: redirect if set, otherwise drop.
pub const REDIRECT: u32 = 1 << 31;

/// Packs the verdict of a rival's rule; 0 means that no rule matches.
pub const fn verdict(redirect: bool, number: u32) -> u32 {
    if redirect { REDIRECT | number } else { number }
}

const _: () = {
    assert!(size_of::<FeederPlan>() == 16);
    assert!(size_of::<FeederProgress>() == 24);
    assert!(size_of::<ReceivedPackets>() == 32);
    assert!(size_of::<RivalPod>() == 20);
    assert!(size_of::<LinearRule>() == 20);
    assert!(FLOWS.is_power_of_two());
};

/// Promises to aya for user space, which must be made where the types are.
#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "promises to aya about the layout of the types")]

    use super::{FeederPlan, FeederProgress, LinearRule, ReceivedPackets, RivalPod};

    // SAFETY: integers only, and the asserted size leaves no room for padding.
    unsafe impl aya::Pod for FeederPlan {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FeederProgress {}
    // SAFETY: as above.
    unsafe impl aya::Pod for LinearRule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ReceivedPackets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RivalPod {}
}
