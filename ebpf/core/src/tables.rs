//! The layout of everything the programs and the agent share through pinned maps.
//!
//! Integers are in host byte order: the tables never leave the machine. No type has padding; the sizes are asserted
//! at the end of the file, because a padded type would hand uninitialised bytes to the kernel.
//!
//! How a packet finds its rules: destination [`Address`] → [`maps::PODS`] → slot → [`maps::SLOTS`] → [`SlotWord`] →
//! [`maps::BLOCKS`] → [`Block`]. A live block is never overwritten: the agent writes a free one and flips the word.

/// Version of this layout. Part of the pin path, so programs and tables of different layouts never meet.
pub const ABI_VERSION: u32 = 1;

/// Names of the maps, as in the object file and below the pin directory.
pub mod maps {
    /// Hash: [`super::Address`] → slot (`u32`).
    pub const PODS: &str = "PODS";
    /// Array: slot → [`super::SlotWord`] as `u64`.
    pub const SLOTS: &str = "SLOTS";
    /// Array: block index → [`super::Block`].
    pub const BLOCKS: &str = "BLOCKS";
    /// Devmap hash: slot → the host's end of the pod's veth pair. An entry disappears with its device, and a pod's
    /// rules are in force only while its entry exists.
    pub const DEVICES: &str = "DEVICES";
    /// Per-CPU array: rule id → [`super::RuleCounters`].
    pub const RULE_COUNTERS: &str = "RULE_COUNTERS";
    /// Per-CPU array: rule id → [`super::Count`] of packets that the reader saw in a pod.
    pub const DELIVERED: &str = "DELIVERED";
    /// Per-CPU array: [`crate::verdict::Unparsed`] or [`crate::verdict::Fallback`] code → [`super::Count`]; see
    /// [`super::EVENTS`].
    pub const EVENTS: &str = "EVENTS";
    /// Hash: [`super::FailureKey`] → packets (`u64`).
    pub const FAILURES: &str = "FAILURES";
    /// Array with one element: [`super::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// Array: rule id → [`super::Label`]. Not read by programs.
    pub const RULE_LABELS: &str = "RULE_LABELS";
    /// Array: slot → [`super::Label`]. Not read by programs.
    pub const POD_LABELS: &str = "POD_LABELS";
    /// Array: index → [`super::Label`]: what the agent could not do. Not read by programs.
    pub const PROBLEMS: &str = "PROBLEMS";
}

/// Names of the programs in the object file.
pub mod programs {
    /// XDP, on a NIC.
    pub const NIC: &str = "xdp_nic";
    /// Classifier, ingress of a pod's eth0.
    pub const READER: &str = "pod_reader";
    /// Raw tracepoint `xdp_redirect_err`.
    pub const REDIRECT_ERR: &str = "redirect_err";
    /// Raw tracepoint `xdp_devmap_xmit`.
    pub const DEVMAP_XMIT: &str = "devmap_xmit";
    /// Raw tracepoint `xdp_exception`.
    pub const EXCEPTION: &str = "exception";
}

/// Slots, and so target pods, on one node.
pub const MAX_SLOTS: u32 = 1024;
/// Blocks: twice the slots, so that every slot can be rewritten while its old block is still in use.
pub const MAX_BLOCKS: u32 = 2 * MAX_SLOTS;
/// Addresses of target pods on one node.
pub const MAX_ADDRESSES: u32 = 4 * MAX_SLOTS;
/// Rules with counters of their own on one node.
pub const MAX_RULES: u32 = 4096;
/// Entries of one pod's list.
pub const MAX_ENTRIES: usize = 64;
/// Records in [`maps::PROBLEMS`].
pub const MAX_PROBLEMS: u32 = 256;
/// Distinct failures kept in [`maps::FAILURES`].
pub const MAX_FAILURES: u32 = 4096;
/// Elements of [`maps::EVENTS`].
pub const EVENTS: u32 = 32;
/// Bytes of a [`Label`]'s text.
pub const LABEL_TEXT: usize = 1020;

/// An IP address: IPv4 in its IPv4-mapped form (`::ffff:a.b.c.d`), as two host-order halves.
///
/// An IPv6 packet that carries an IPv4-mapped address on the wire is not considered (the kernel drops it as well:
/// Linux commit 6af1799aaf3f), so the two families never collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

/// Entries apply to both families unless they have a peer; then the mask covers the IPv4-mapped prefix.
impl Address {
    const V4_MAPPED: u64 = 0xffff_0000_0000;

    /// An IPv4 address from its four bytes.
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self {
            high: 0,
            low: Self::V4_MAPPED | u32::from_be_bytes(bytes) as u64,
        }
    }

    /// An IPv6 address from its sixteen bytes.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let value = u128::from_be_bytes(bytes);
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }

    /// Whether this is the IPv4-mapped form.
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == 0xffff
    }

    /// The sixteen bytes in network order.
    pub const fn octets(self) -> [u8; 16] {
        (((self.high as u128) << 64) | self.low as u128).to_be_bytes()
    }

    /// The netmask of an IPv6 prefix (for IPv4: its length plus 96). Lengths above 128 count as 128.
    pub const fn mask(prefix_len: u8) -> Self {
        let value = match prefix_len {
            0 => 0,
            1..=127 => u128::MAX << (128 - prefix_len),
            128.. => u128::MAX,
        };
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

/// What a slot points at: generation in the upper half, block index + 1 in the lower one. Zero is an empty slot: all
/// its packets pass.
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
    pub const fn block(self) -> Option<u32> {
        (self.0 as u32).checked_sub(1)
    }

    /// How often this slot was flipped.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// To the stack.
    Pass = 1,
    /// Nowhere.
    Drop = 2,
    /// Into the pod's veth pair.
    Redirect = 3,
}

impl Action {
    /// The action behind a byte of an [`Entry`]; an unknown one passes.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            2 => Self::Drop,
            3 => Self::Redirect,
            _ => Self::Pass,
        }
    }
}

/// One line of a pod's ordered list.
///
/// The first entry that matches and is not excluded decides. An entry with [`Entry::EXCEPT`] never decides: when its
/// source matches, it excludes the entries that follow, up to and including the next one with [`Entry::PEER_END`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// The peer's network address; matched under `mask`.
    pub source: Address,
    /// All zero: any source, either family.
    pub mask: Address,
    /// Index into [`maps::RULE_COUNTERS`] and [`maps::RULE_LABELS`].
    pub rule: u32,
    /// What [`Entry::MARK`] says is carried.
    pub mark: u32,
    /// First destination port, with [`Entry::PORTS`].
    pub port_first: u16,
    /// Last destination port, with [`Entry::PORTS`].
    pub port_last: u16,
    /// IP protocol number, with [`Entry::PROTOCOL`].
    pub protocol: u8,
    /// An [`Action`].
    pub action: u8,
    /// The constants below.
    pub flags: u16,
}

impl Entry {
    /// `protocol` must match, and the packet must not be a later fragment.
    pub const PROTOCOL: u16 = 1;
    /// The destination port must lie in the range (only together with [`Entry::PROTOCOL`]).
    pub const PORTS: u16 = 2;
    /// `mark` goes into the metadata.
    pub const MARK: u16 = 4;
    /// Count, and pass.
    pub const AUDIT: u16 = 8;
    /// See the type's documentation.
    pub const EXCEPT: u16 = 16;
    /// See the type's documentation.
    pub const PEER_END: u16 = 32;
    /// The rule says Redirect but its pod cannot take it: counted as a fallback, and passed.
    pub const NOT_READY: u16 = 64;
}

/// All the program needs about one pod. Immutable while a slot word points at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Block {
    /// Entries in use.
    pub len: u32,
    /// Longest IP packet the pod's interface takes, in bytes.
    pub mtu: u32,
    /// Link-layer address of the pod's interface.
    pub mac: [u8; 6],
    /// Always zero.
    pub reserved: [u8; 2],
    /// The list.
    pub entries: [Entry; MAX_ENTRIES],
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// What became of the packets a rule decided. Each is counted in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounters {
    /// Handed to the pod's device. Not yet delivery: see [`maps::DELIVERED`] and [`maps::FAILURES`].
    pub redirected: Count,
    /// Passed, because the rule says so.
    pub passed: Count,
    /// Dropped.
    pub dropped: Count,
    /// Audit: would have been acted upon, was passed.
    pub audited: Count,
    /// The rule says Redirect, the packet was passed; why is in [`maps::EVENTS`].
    pub fell_back: Count,
}

/// What [`maps::FAILURES`] counts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FailureKey {
    /// Which tracepoint: [`FailureKey::REDIRECT_ERR`] …
    pub kind: u32,
    /// `xdp_redirect_err`: slot. `xdp_devmap_xmit`: ifindex of the target. `xdp_exception`: ifindex of the NIC.
    pub subject: u32,
    /// A positive errno, 0 where the kernel gives none; for `xdp_exception` the XDP action.
    pub code: u32,
}

impl FailureKey {
    /// `xdp_redirect_err`: refused in the driver's call.
    pub const REDIRECT_ERR: u32 = 1;
    /// `xdp_devmap_xmit`: lost at the flush of the bulk queue.
    pub const DEVMAP_XMIT: u32 = 2;
    /// `xdp_exception`: aborted, unknown action, failed transmission.
    pub const EXCEPTION: u32 = 3;
}

/// What the tracepoint programs must know. Offsets are in bytes, of the running kernel, from its BTF; zero: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// [`ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Kernel id of [`maps::DEVICES`]: redirects through other maps are not ours.
    pub devices_map_id: u32,
    /// Of `ifindex` in `struct net_device`. Without it, the programs that need it count nothing.
    pub net_device_ifindex: u32,
    /// Of `nd_net` in `struct net_device`.
    pub net_device_net: u32,
    /// Of `net_cookie` in `struct net`.
    pub net_cookie: u32,
    /// Always zero.
    pub reserved: u32,
    /// `SO_NETNS_COOKIE` of the agent's network namespace: interfaces of others have the same numbers. Zero: unknown,
    /// all namespaces are counted.
    pub netns_cookie: u64,
}

/// A short text of the agent's (JSON) that travels with an id, so that `status` needs nothing but the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Label {
    /// Bytes of `text` in use; zero: none.
    pub len: u32,
    /// UTF-8.
    pub text: [u8; LABEL_TEXT],
}

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Entry>() == 48);
    assert!(size_of::<Block>() == 16 + 48 * MAX_ENTRIES);
    assert!(size_of::<RuleCounters>() == 80);
    assert!(size_of::<FailureKey>() == 12);
    assert!(size_of::<Config>() == 32);
    assert!(size_of::<Label>() == 1024);
};
